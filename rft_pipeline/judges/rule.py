"""`rule`: a plain function decides."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from rft_pipeline.judges.base import Judge, Judged, Judgement, failed, scored, unscored
from rft_pipeline.judges.settings import Engines, JudgeSettings
from rft_pipeline.rules import RULES, AnyRule, Column, Rollout, RuleFailure, RuleScore


class RuleJudge(JudgeSettings):
    """Decided by a function, without a model."""

    VERSION = 1
    SEES_ALL = True

    protocol: Literal["rule"]
    rule: AnyRule

    @classmethod
    def reads_in(cls, judge: Mapping[str, Any]) -> list[str] | None:
        rule = judge["rule"]
        parameters = RULES[rule["name"]].READS
        return None if parameters is None else sorted({rule[name] for name in parameters if rule[name] is not None})

    def make(self, engines: Engines) -> Judge:
        return RuleJudging(self)

    @property
    def kind(self) -> str:
        return f"rule: {self.rule.name}"

    def best_score(self, max_new_tokens: int) -> float:
        return self.rule.best_score(max_new_tokens)

    def columns(self) -> tuple[Column, ...]:
        return self.rule.columns()

    def faults(self) -> Iterable[str]:
        return self.rule.faults()

    def warnings(self) -> Iterable[str]:
        return self.rule.warnings()


class RuleJudging:
    """Asks the criterion's rule; needs no engine."""

    def __init__(self, config: RuleJudge) -> None:
        self.rule = config.rule

    def score(self, rollouts: Sequence[Rollout]) -> Iterator[Judged]:
        for place, found in self.rule.decide_all(rollouts):
            yield [(place, _judgement(found))]


def _judgement(found: RuleScore) -> Judgement:
    if isinstance(found, RuleFailure):
        return failed(found.reason)
    return unscored("", found.reason) if found.score is None else scored(found.score, "", found.reason)
