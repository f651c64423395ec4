"""A judge that is given only replies to prompts with all columns that it shows; the others are unscored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rft_pipeline.judges.base import Judge, Judged, is_empty, unscored
from rft_pipeline.rules import Rollout
from rft_pipeline.rules.slots import lacking


@dataclass(frozen=True)
class WithColumns:
    """Passes on the replies to prompts that have these columns, and empty replies, which no judge reads."""

    judge: Judge
    columns: Sequence[str]

    def score(self, rollouts: Sequence[Rollout]) -> Iterator[Judged]:
        passed = []
        for place, rollout in enumerate(rollouts):
            if not is_empty(rollout) and (absent := lacking(rollout.fields, self.columns)):
                yield [(place, unscored("", f"the prompt has no {' and no '.join(absent)}"))]
            else:
                passed.append(place)
        for batch in self.judge.score([rollouts[place] for place in passed]):
            yield [(passed[place], judgement) for place, judgement in batch]


def with_columns(judge: Judge, columns: Sequence[str]) -> Judge:
    """The judge, guarded if it shows columns."""
    return WithColumns(judge, columns) if columns else judge
