"""`panel`: the mean of several judges, less a penalty for their disagreement."""

import statistics
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rft_pipeline.judges.base import Judgement, Opinion, Status, scored, with_usage_of
from rft_pipeline.judges.settings import JudgeSettings, Scores

if TYPE_CHECKING:
    SingleJudge = JudgeSettings


class PanelJudge(JudgeSettings):
    """Several judges: mean − penalty · standard deviation of their scores, at least 0.

    Each member is judged as a criterion of its own, so a panel makes no judge.
    """

    VERSION = 1

    protocol: Literal["panel"]
    members: "tuple[SingleJudge, ...]" = Field(min_length=2)
    """Judges of any protocol."""
    penalty: float = Field(default=0.0, ge=0)
    """What disagreement costs."""

    @property
    def payload(self) -> dict[str, Any]:
        members = [member.payload for member in self.members]
        judge = {"protocol": self.protocol, "members": members, "penalty": self.penalty}
        return {"protocol_version": self.VERSION, "judge": judge}

    def scores(self, served: Collection[str]) -> Scores:
        inside = any(member.scores(served) is Scores.INSIDE for member in self.members)
        return Scores.INSIDE if inside else Scores.ANY


def combined(opinions: Sequence[Opinion], penalty: float) -> Judgement:
    """mean − penalty · standard deviation, at least 0; without a score when a member has none."""
    scores = [each.score for each in opinions if each.score is not None]
    raw = ", ".join("none" if each.score is None else f"{each.score:.4f}" for each in opinions)
    if len(scores) < len(opinions):
        without = [place for place, each in enumerate(opinions, start=1) if each.score is None]
        statuses = {each.status for each in opinions if each.score is None}
        status = Status.FAILED if Status.FAILED in statuses else Status.UNSCORED
        found = Judgement(None, status, raw, f"no score from member {', '.join(map(str, without))}")
    else:
        mean, std = statistics.fmean(scores), statistics.pstdev(scores)
        found = scored(max(0.0, mean - penalty * std), raw, f"mean {mean:.3f}, standard deviation {std:.3f}")
    return with_usage_of(opinions, found)
