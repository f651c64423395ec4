"""Settings of rewards."""

from pydantic import Field

from rft_pipeline.strict import Strict


class Reward(Strict):
    """How scores become advantages."""

    damping: float = Field(default=0.1, ge=0)
    """Added to a criterion's standard deviation within a group, so that nearly constant scores are not amplified."""
    clip: float = Field(default=3.0, gt=0)
    """Advantages are clipped to ± this."""
    min_group_share: float = Field(default=0.5, ge=0, le=1)
    """Training is refused if a smaller share of the groups has a usable signal."""
