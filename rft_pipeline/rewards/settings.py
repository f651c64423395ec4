"""Settings of rewards."""

from pydantic import Field

from rft_pipeline.strict import Strict


class Reward(Strict):
    """From judgements to the numbers that train."""

    damping: float = Field(default=0.1, ge=0)
    """Added to a criterion's spread within a group: one that is nearly constant there is damped, not amplified."""
    clip: float = Field(default=3.0, gt=0)
    """Advantages beyond ± this are clipped."""
    min_group_share: float = Field(default=0.5, ge=0, le=1)
    """Training is refused when fewer than this share of the groups can teach anything."""
