"""How well a judge that might decide a criterion agrees with the labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from rft_pipeline.audit.agreement import HALF, Agreement, agreement, kappas
from rft_pipeline.audit.criterion import highest_label
from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.ranking import weighted_auc
from rft_pipeline.audit.rows import judgements_of
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.errors import ConfigError
from rft_pipeline.stats import Interval, Resamples
from rft_pipeline.suggest.candidates import Candidate

JudgeRows = Callable[[pl.DataFrame, Criterion], pl.DataFrame]
"""The judgements of replies by a criterion's judge, as `judging` returns them. Raises `ConfigError` if the model cannot
serve the judge."""


class Tried(NamedTuple):
    """A judge on labelled replies."""

    candidate: Candidate
    judged: pl.DataFrame | None
    """What `judgements_of` returns; None if the model cannot serve the judge."""
    labelled: Labelled | None
    note: str = ""
    """Why it cannot be used."""

    @property
    def unscored(self) -> float:
        """Share of the replies that it leaves unscored."""
        return 1.0 if self.labelled is None else float(self.labelled.unscored_N.mean())

    @property
    def auc(self) -> float:
        """NaN if unknown."""
        if self.labelled is None:
            return float("nan")
        scored = self.labelled.scored
        (found,) = weighted_auc(scored.score_N, scored.good_N, np.ones((1, len(scored.score_N))))
        return float(found)


def try_judge(criterion: str, candidate: Candidate, rows: pl.DataFrame, judge_rows: JudgeRows) -> Tried:
    """Judge the replies that are labelled for a criterion."""
    asked = Criterion.model_construct(name=criterion, judge=candidate.judge)
    try:
        judged = judgements_of(asked, rows, judge_rows(rows, asked))
    except ConfigError as error:
        return Tried(candidate, None, None, str(error))
    return Tried(candidate, judged, labelled(asked, judged))


def labelled(criterion: Criterion, judged: pl.DataFrame) -> Labelled:
    """Scores and labels."""
    highest = highest_label(criterion, judged)
    return Labelled.of(judged.with_columns(pl.col("label") * highest), highest)


@dataclass(frozen=True)
class MeasuredJudge:
    """A judge on the held-out half."""

    agreement: Agreement
    agrees: Interval
    """Share of the scored replies for which score and label are on the same side of one half."""


@dataclass(frozen=True)
class Comparison:
    """The present judge and another one on the same labels, with intervals over prompts."""

    before: MeasuredJudge
    after: MeasuredJudge
    auc: Interval
    """After minus before, over the replies that both scored."""
    cohen_kappa: Interval
    """The same for Cohen's κ."""

    def of(self, reworded: bool) -> Interval:
        """The difference that decides: of the AUC, which no squash changes; of κ if only the squash is another one."""
        return self.auc if reworded else self.cohen_kappa


def compare(before: Labelled, after: Labelled, resamples: int, seed: int) -> Comparison:
    """Compare two judges' scores of the same labelled replies; all intervals use the same resamples."""
    drawn = Resamples.draw(before.prompt_N, resamples, seed)
    both_N = ~(before.unscored_N | after.unscored_N)
    shared = drawn.take(both_N)
    sides = [each.take(both_N) for each in (before, after)]
    auc = [weighted_auc(side.score_N, side.good_N, shared.times_RN) for side in sides]
    kappa = [kappas(side.grade_N, side.whole_N, "ordinal", shared) for side in sides]
    return Comparison(
        _measured(before, drawn),
        _measured(after, drawn),
        auc=shared.interval(auc[1] - auc[0]),
        cohen_kappa=shared.interval(kappa[1] - kappa[0]),
    )


def _measured(found: Labelled, drawn: Resamples) -> MeasuredJudge:
    scored = found.scored
    same_N = (scored.score_N >= HALF) == scored.good_N
    return MeasuredJudge(agreement(found, drawn), drawn.take(~found.unscored_N).mean(same_N.astype(float)))


def by_auc(tried: Tried) -> float:
    """The key that sorts by AUC; an unknown one is below all others."""
    return -1.0 if np.isnan(tried.auc) else tried.auc


def best(tried: Sequence[Tried], most_unscored: float) -> Tried:
    """The first of those with the highest AUC; judges that leave more than this share unscored are left out, except the
    first one."""
    able = [each for each in tried[1:] if each.unscored <= most_unscored]
    return max([tried[0], *able], key=by_auc)
