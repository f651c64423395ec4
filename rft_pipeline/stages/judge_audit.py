"""Judge audit: how far each judge agrees with people on the anchors, what else moves it, and how far it may train.

The anchors are judged as they are and as the probes edit some of them; each of these replies is a row like a rollout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from rft_pipeline.addresses import as_rollout
from rft_pipeline.audit import (
    PROBES,
    Agreement,
    Calibration,
    Evidence,
    Labelled,
    Power,
    Resamples,
    Verdict,
    agreement,
    calibration,
    effects,
    length_correlation,
    verdict,
)
from rft_pipeline.campaign import Audit
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.protocols import GROUPED
from rft_pipeline.rubric import Criterion
from rft_pipeline.stats import Interval

WHOLE = ""
"""The probe of an anchor as it is."""
EXAMPLES = 3
"""Worst disagreements shown of each criterion."""


@dataclass(frozen=True)
class Audited:
    """One criterion's judge, measured and weighed."""

    criterion: Criterion
    judged: pl.DataFrame
    """What `judgements_of` returns."""
    verdict: Verdict
    agreement: Agreement
    calibration: Calibration | None
    """None where labels of one kind only are there."""
    worst: tuple[dict[str, Any], ...]
    """Anchors on which judge and label are furthest apart: prompt, completion, label, score, reason."""


def audit_rows(anchors: pl.DataFrame, probed: int, seed: int) -> pl.DataFrame:
    """The anchors, then what each probe makes of `probed` of them, chosen by the seed.

    `anchors` is what `read_anchors` returns. The rows have its columns, `rollout_id`, and `probe`, empty for an anchor
    as it is.
    """
    ranks = [seed_of(seed, "probed anchors", name) for name in anchors["id"]]
    chosen = anchors.with_columns(pl.Series("rank", ranks, dtype=pl.UInt64)).sort("rank").head(probed).drop("rank")
    views = [as_rollout(row) for row in chosen.iter_rows(named=True)]
    edited = [
        chosen.with_columns(
            pl.Series("completion", [probe.edit(view) for view in views]), pl.lit(probe.name).alias("probe")
        )
        for probe in PROBES
    ]
    rows = pl.concat([anchors.with_columns(pl.lit(WHOLE).alias("probe")), *edited])
    return rows.with_columns(pl.concat_str("id", "probe", separator="+").alias("rollout_id"))


def asked_about(rows: pl.DataFrame, criterion: Criterion) -> pl.DataFrame:
    """The rows a criterion's judge is asked about: those with a label; of a judge that compares no edited replies,
    which would join the group of the reply they were made from."""
    compares = any(each.judge.protocol in GROUPED for each in criterion.members or (criterion,))
    labelled = rows.filter(pl.col("labels").struct.field(criterion.name).is_not_null())
    return labelled.filter(probe=WHOLE) if compares else labelled


def audit_judge(criterion: Criterion, rows: pl.DataFrame, scores: pl.DataFrame, settings: Audit, seed: int) -> Audited:
    """Weigh one criterion's judge; `scores` holds rollout_id, score and reason of the rows it was asked about."""
    judged = judgements_of(criterion, rows, scores)
    whole = judged.filter(probe=WHOLE)
    labelled = Labelled.of(whole)
    resamples = Resamples.draw(labelled.prompt_N, settings.resamples, seed_of(seed, "audit", criterion.name))
    measured = agreement(labelled, resamples)
    found = verdict(criterion.name, _evidence(measured, labelled, whole, judged, resamples), settings)
    both = len(np.unique(labelled.scored.label_N)) > 1
    squash = getattr(criterion.judge, "squash", None)
    return Audited(
        criterion,
        judged,
        found,
        measured,
        calibration(labelled, resamples, squash) if both else None,
        _worst(whole),
    )


def judgements_of(criterion: Criterion, rows: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """A row a reply that the criterion's judge was asked about, with `criterion`, `label` and what was judged."""
    label = pl.col("labels").struct.field(criterion.name).alias("label")
    told = scores.select("rollout_id", "criterion", "score", "status", "reason")
    return rows.join(told, on="rollout_id", how="inner", maintain_order="left").with_columns(label).drop("labels")


def _evidence(
    measured: Agreement, labelled: Labelled, whole: pl.DataFrame, judged: pl.DataFrame, resamples: Resamples
) -> Evidence:
    length_N = whole["completion"].str.len_chars().cast(pl.Float64).to_numpy()
    names = judged["probe"].unique(maintain_order=True).to_list()
    probed = {
        name: whole.select("id")
        .join(judged.filter(probe=name).select("id", "score"), on="id", how="left", maintain_order="left")["score"]
        .cast(pl.Float64)
        .fill_null(float("nan"))
        .to_numpy()
        for name in names
        if name != WHOLE
    }
    return Evidence(
        measured,
        length=length_correlation(labelled, length_N, resamples),
        effects=effects(labelled, probed, resamples, measured.at_cut.threshold) if probed else (),
    )


def _worst(whole: pl.DataFrame) -> tuple[dict[str, Any], ...]:
    apart = (pl.col("score") - pl.col("label")).abs().alias("apart")
    shown = whole.drop_nulls("score").with_columns(apart).sort("apart", "id", descending=[True, False]).head(EXAMPLES)
    return tuple(
        {
            "id": row["id"],
            "prompt": as_rollout(row).prompt,
            "completion": row["completion"],
            "label": row["label"],
            "score": row["score"],
            "reason": row["reason"],
        }
        for row in shown.iter_rows(named=True)
        if row["apart"] > 0.5
    )


def training_weights(rubric: dict[str, float], earned: dict[str, float]) -> dict[str, float]:
    """The rubric's weights times what the judges have earned, summing to 1 again; all 0 when nothing is left."""
    weights = {name: weight * earned.get(name, 1.0) for name, weight in rubric.items()}
    total = sum(weights.values())
    return {name: weight / total if total else 0.0 for name, weight in weights.items()}


def as_plain(audited: Audited) -> dict[str, Any]:
    """The verdict and the numbers behind it as plain data, as JSON holds it; null where the data cannot say."""
    found, how = audited.verdict, audited.calibration
    measured = audited.agreement
    return {
        "criterion": found.criterion,
        "protocol": audited.criterion.judge.protocol,
        "power": found.power.value,
        "weight": found.weight,
        "faults": list(found.faults),
        "suspected": list(found.suspected),
        "reason": found.reason,
        "anchors": measured.anchors,
        "good": measured.good,
        "bad": measured.bad,
        "unscored_share": _known(measured.unscored_share),
        "youden_j": _known(measured.at_cut.youden_j),
        "true_positives": _known(measured.at_cut.true_positives),
        "false_positives": _known(measured.at_cut.false_positives),
        "threshold": measured.at_cut.threshold,
        "auc": _known(measured.auc),
        "cohen_kappa": _known(measured.cohen_kappa),
        "within_prompt": _known(measured.within_prompt),
        "checks": {check.fault: _known(check.found) for check in found.checks},
        "calibration_error": None
        if how is None
        else {"before": how.before.calibration, "after": how.after.calibration},
        "calibration": None if how is None else how.advised,
        "squash": None if how is None or how.squash is None else how.squash.model_dump(mode="json"),
        "worst": list(audited.worst),
    }


def _known(interval: Interval) -> dict[str, float | None]:
    return {name: None if np.isnan(number) else number for name, number in interval._asdict().items()}


def as_numbers(audited: Sequence[Audited]) -> dict[str, float]:
    """What is plotted over time."""
    found: dict[str, float] = {}
    for each in audited:
        name = each.verdict.criterion
        found |= {
            f"weight_{name}": each.verdict.weight,
            f"youden_j_{name}": each.agreement.at_cut.youden_j.mean,
            f"auc_{name}": each.agreement.auc.mean,
            f"kappa_{name}": each.agreement.cohen_kappa.mean,
        }
    return {name: number for name, number in found.items() if not np.isnan(number)}


def refused(audited: Sequence[Audited]) -> list[Verdict]:
    """Criteria that may not train."""
    return [each.verdict for each in audited if each.verdict.power is Power.MONITOR]
