"""`panel`: what several judges say together, and what their disagreement costs."""

import statistics
from collections.abc import Sequence

from rft_pipeline.judges.base import Judgement, Status, scored

Opinion = tuple[float | None, str]
"""A member's score and status."""


def together(opinions: Sequence[Opinion], penalty: float) -> Judgement:
    """mean − penalty · standard deviation, at least 0; without a score when a member has none."""
    scores = [score for score, _ in opinions if score is not None]
    raw = ", ".join("none" if score is None else f"{score:.4f}" for score, _ in opinions)
    if len(scores) < len(opinions):
        without = [place for place, (score, _) in enumerate(opinions, start=1) if score is None]
        statuses = {status for score, status in opinions if score is None}
        status = Status.FAILED if Status.FAILED in statuses else Status.UNSCORED
        return Judgement(None, status, raw, f"no score from member {', '.join(map(str, without))}")
    mean, std = statistics.fmean(scores), statistics.pstdev(scores)
    return scored(max(0.0, mean - penalty * std), raw, f"mean {mean:.3f}, standard deviation {std:.3f}")
