"""The audit of one criterion's judge: agreement with people, biases, calibration, and the verdict.

The judge scores the anchors and the probes' edits of some of them. Replies that people labelled are added: the split
`audit` is measured together with the anchors, the split `calibration` fits the judge's scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from rft_pipeline.audit.agreement import Agreement, agreement
from rft_pipeline.audit.annotators import People, people
from rft_pipeline.audit.bias import effects, length_correlation
from rft_pipeline.audit.calibration import Calibration, calibration
from rft_pipeline.audit.comparing import order_of, own_family
from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.measurable import noise_of, why_not_measured
from rft_pipeline.audit.noise import Noise
from rft_pipeline.audit.rows import ANCHOR, FIT, MEASURE, WHOLE
from rft_pipeline.audit.stability import Order, Retest, retest
from rft_pipeline.audit.verdict import Evidence, Power, Verdict, verdict
from rft_pipeline.campaign import Audit
from rft_pipeline.campaign.addresses import readable_prompt
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.stats import Resamples

EXAMPLES = 3
"""Number of largest errors shown per criterion."""


@dataclass(frozen=True)
class FromPeople:
    """The effect of people's labels of rollouts on one criterion's audit."""

    measured: int
    """Labelled rollouts of the split `audit`."""
    fitted: int
    """Labelled rollouts of the split `calibration`."""
    before: Verdict
    """The verdict from the anchors alone."""
    before_agreement: Agreement
    agreement: Agreement
    """Agreement of the judge with people on the rollouts of the split `audit` alone."""
    people: People | None
    """Agreement among people; None if no rollout has two annotators."""


@dataclass(frozen=True)
class CriterionAudit:
    """The audit of one criterion's judge."""

    criterion: Criterion
    judged: pl.DataFrame
    """What `judgements_of` returns."""
    verdict: Verdict
    agreement: Agreement
    calibration: Calibration | None
    """None if there are only good or only bad labels."""
    calibrated_on: str
    """What the calibration was measured on, in words."""
    worst: tuple[dict[str, Any], ...]
    """Replies with the largest distance between score and label: id, prompt, completion, label, score, reason."""
    retest: Retest | None = None
    """None if nothing was judged twice."""
    order: Order | None = None
    """None for judges that do not compare."""
    from_people: FromPeople | None = None
    """None without people's labels of rollouts for the criterion."""
    noise: Noise | None = None
    """Only with `audit.by_group` and sufficient labels."""
    not_measured: Mapping[str, str] = field(default_factory=dict)
    """What was not measured → why."""


def audit_criterion(
    criterion: Criterion,
    judged: pl.DataFrame,
    settings: Audit,
    seed: int,
    labels: pl.DataFrame | None = None,
    families: frozenset[str] = frozenset(),
) -> CriterionAudit:
    """Audit one criterion's judge.

    `judged` is what `judgements_of` returns; `labels` are people's labels of its rows that are no anchors, with
    rollout_id, criterion, value and annotator; `families` are the families of the judge's models.
    """
    measured_rows = judged.filter(pl.col("split") != FIT, probe=WHOLE)
    anchors = judged.filter(split=ANCHOR)
    highest = highest_label(criterion, judged)
    labelled, resamples = _drawn(measured_rows, highest, settings, seed_of(seed, "audit", criterion.name))
    measured = agreement(labelled, resamples)
    order = order_of(measured_rows, resamples)
    own = own_family(measured_rows, labelled, resamples, families)
    length_N = measured_rows["completion"].str.len_chars().cast(pl.Float64).to_numpy()
    edited, drawn = _drawn(anchors.filter(probe=WHOLE), highest, settings, seed_of(seed, "audit", criterion.name))
    evidence = Evidence(
        measured,
        length=length_correlation(labelled, length_N, resamples),
        effects=effects(edited, _probed(anchors), drawn, measured.at_cut.threshold, _gated(anchors)),
        order=order,
        own_family=own,
    )
    found = verdict(criterion.name, evidence, settings)
    how, measured_on = _calibration(criterion, judged, labelled, highest, settings)
    second_N = measured_rows["retest_score"].cast(pl.Float64).to_numpy()
    unknown = why_not_measured(criterion, judged, order, own)
    spread, why_not = noise_of(criterion, labelled, found, resamples, settings)
    if why_not:
        unknown["noise"] = why_not
    return CriterionAudit(
        criterion,
        judged,
        found,
        measured,
        how,
        measured_on,
        _worst(measured_rows),
        retest=retest(labelled.score_N, second_N, measured.at_cut.threshold, resamples),
        order=order,
        from_people=_from_people(criterion, judged, labels, highest, settings, seed, families),
        noise=spread,
        not_measured=unknown,
    )


def _drawn(rows: pl.DataFrame, highest: int, settings: Audit, seed: int) -> tuple[Labelled, Resamples]:
    labelled = _labelled(rows, highest)
    return labelled, Resamples.draw(labelled.prompt_N, settings.resamples, seed)


def _labelled(rows: pl.DataFrame, highest: int) -> Labelled:
    return Labelled.of(rows.with_columns(pl.col("label") * highest), highest)


def highest_label(criterion: Criterion, judged: pl.DataFrame) -> int:
    """Labels run from 0 to this: 1, or the highest grade if there are labels between 0 and 1."""
    between = judged.filter((pl.col("label") > 0) & (pl.col("label") < 1)).height
    return len(criterion.judge.levels) - 1 if criterion.judge.levels and between else 1


def _probed(anchors: pl.DataFrame) -> dict[str, np.ndarray]:
    """The scores of the edited anchors by probe, in the order of the unedited ones."""
    whole = anchors.filter(probe=WHOLE).select("id")
    found = {}
    for name in anchors["probe"].unique(maintain_order=True):
        if name != WHOLE:
            rows = anchors.filter(probe=name).select("id", "score")
            joined = whole.join(rows, on="id", how="left", maintain_order="left")
            found[name] = joined["score"].cast(pl.Float64).to_numpy()
    return found


def _gated(anchors: pl.DataFrame) -> dict[str, np.ndarray]:
    """Which replies fail a rule's gate, by probe (`WHOLE` for the unedited ones), in the order of the unedited ones."""
    whole = anchors.filter(probe=WHOLE).select("id")
    return {
        name: whole.join(rows.select("id", "gated"), on="id", how="left", maintain_order="left")["gated"]
        .fill_null(value=False)
        .to_numpy()
        for (name,), rows in anchors.partition_by("probe", as_dict=True, maintain_order=True).items()
    }


def _calibration(
    criterion: Criterion,
    judged: pl.DataFrame,
    labelled: Labelled,
    highest: int,
    settings: Audit,
) -> tuple[Calibration | None, str]:
    """Fitted on the anchors and the split `calibration`, and measured on the split `audit` if that is large enough;
    otherwise cross-fitted on the former."""
    squash = getattr(criterion.judge, "squash", None)
    whole = judged.filter(probe=WHOLE)
    fitted = _labelled(whole.filter(pl.col("split") != MEASURE), highest)
    tested_N = (whole.filter(pl.col("split") != FIT)["split"] == MEASURE).to_numpy()
    tested = labelled.take(tested_N)
    sides = tested.scored.good_N
    if len(np.unique(fitted.scored.label_N)) < 2:
        return None, "nothing: all labels are the same"
    if min(sides.sum(), (~sides).sum()) >= settings.min_per_side:
        measured_on = f"{len(sides)} rollouts that people labelled; fitted on {len(fitted.scored.score_N)} others"
        return calibration(fitted, squash, tested), measured_on
    return calibration(fitted, squash), "the same replies, each with a fit to other prompts"


def _from_people(
    criterion: Criterion,
    judged: pl.DataFrame,
    labels: pl.DataFrame | None,
    highest: int,
    settings: Audit,
    seed: int,
    families: frozenset[str],
) -> FromPeople | None:
    whole = judged.filter(probe=WHOLE)
    measured, fitted = whole.filter(split=MEASURE), whole.filter(split=FIT)
    if labels is None or not measured.height + fitted.height:
        return None
    anchors = audit_criterion(criterion, judged.filter(split=ANCHOR), settings, seed, families=families)
    labelled, resamples = _drawn(measured, highest, settings, seed_of(seed, "rollouts", criterion.name))
    mine = labels.filter(pl.col("rollout_id").is_in(whole["rollout_id"].implode()), criterion=criterion.name)
    return FromPeople(
        measured.height,
        fitted.height,
        anchors.verdict,
        anchors.agreement,
        agreement(labelled, resamples),
        _people(mine, highest, settings, seed),
    )


def _people(labels: pl.DataFrame, highest: int, settings: Audit, seed: int) -> People | None:
    """Agreement of annotators on one criterion's rollouts, in integer grades; None if no rollout has two labels."""
    names = tuple(sorted(labels["annotator"].unique()))
    if labels.group_by("rollout_id").len().filter(pl.col("len") > 1).is_empty():
        return None
    wide = labels.pivot(on="annotator", index=["rollout_id", "prompt_id"], values="value").sort("rollout_id")
    label_NA = np.floor(wide.select(pl.col(names).cast(pl.Float64)).to_numpy() * highest + 0.5)
    resamples = Resamples.draw(wide["prompt_id"].to_numpy(), settings.resamples, seed_of(seed, "people"))
    return people(names, label_NA, "ordinal", resamples)


def _worst(whole: pl.DataFrame) -> tuple[dict[str, Any], ...]:
    apart = (pl.col("score") - pl.col("label")).abs().alias("apart")
    shown = whole.drop_nulls("score").with_columns(apart).sort("apart", "id", descending=[True, False]).head(EXAMPLES)
    return tuple(
        {
            "id": row["id"],
            "prompt": readable_prompt(row["messages"]),
            "completion": row["completion"],
            "label": row["label"],
            "score": row["score"],
            "reason": row["reason"],
        }
        for row in shown.iter_rows(named=True)
        if row["apart"] > 0.5
    )


def training_weights(rubric: dict[str, float], earned: dict[str, float]) -> dict[str, float]:
    """The rubric's weights times the shares in `earned`, normalised to sum to 1; all 0 if nothing is left."""
    weights = {name: weight * earned.get(name, 1.0) for name, weight in rubric.items()}
    total = sum(weights.values())
    return {name: weight / total if total else 0.0 for name, weight in weights.items()}


def refused(audits: Sequence[CriterionAudit]) -> list[Verdict]:
    """Verdicts of the criteria that may not train."""
    return [each.verdict for each in audits if each.verdict.power is Power.MONITOR]
