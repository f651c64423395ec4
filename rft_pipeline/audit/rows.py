"""The rows of an audit: the anchors, their edits by the probes, and the replies that people labelled."""

from collections.abc import Sequence

import polars as pl

from rft_pipeline.audit.probes import DEGENERATE, PROBES
from rft_pipeline.campaign.addresses import REPLY, as_rollout
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.judges import PanelJudge, RuleJudge

WHOLE = ""
"""The probe of an unedited reply."""
ANCHOR, FIT, MEASURE = "anchor", "calibration", "audit"
"""Splits: the anchors, and people's labels of rollouts, which are for calibration or for the audit."""


def audit_rows(anchors: pl.DataFrame, probed: int, seed: int, people: pl.DataFrame | None = None) -> pl.DataFrame:
    """The anchors, the probes' edits of `probed` random anchors, and the replies that people labelled.

    `anchors` is what `read_anchors` returns, `people` what `people_rows` returns. The rows have the anchors' columns,
    `rollout_id`, `split`, and `probe` (empty for an unedited reply). Labels are in [0, 1].
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
    names = [field.name for field in rows.schema["labels"].fields]  # type: ignore[attr-defined]
    rows = rows.with_columns(
        pl.concat_str("id", "probe", separator="+").alias("rollout_id"),
        pl.lit(ANCHOR).alias("split"),
        pl.col("labels").cast(pl.Struct(dict.fromkeys(names, pl.Float64))),
    )
    return rows if people is None or people.is_empty() else pl.concat([rows, people.select(rows.columns)])


def people_rows(labels: pl.DataFrame, replies: pl.DataFrame, criteria: list[str]) -> pl.DataFrame:
    """A row per reply that people labelled for one of `criteria`, with the columns of `audit_rows`; its label is the
    mean over annotators.

    `labels` has rollout_id, criterion, value and split; `replies` has rollout_id, prompt_id and what a judge may see.
    """
    means = labels.group_by("rollout_id", "split", "criterion").agg(pl.col("value").mean())
    wide = means.pivot(on="criterion", index=["rollout_id", "split"], values="value")
    columns = [
        (pl.col(name) if name in wide.columns else pl.lit(None)).cast(pl.Float64).alias(name) for name in criteria
    ]
    labelled = wide.select("rollout_id", "split", pl.struct(columns).alias("labels"))
    return (
        replies.select("rollout_id", "prompt_id", *REPLY)
        .join(labelled, on="rollout_id", how="inner", maintain_order="left")
        .with_columns(
            pl.col("rollout_id").alias("id"),
            pl.lit("people").alias("source"),
            pl.lit(None, dtype=pl.String).alias("by"),
            pl.lit(WHOLE).alias("probe"),
        )
    )


def rows_to_judge(rows: pl.DataFrame, criterion: Criterion) -> pl.DataFrame:
    """The rows that a criterion's judge scores: those with a label.

    A judge that compares gets no edited replies, which would join the group of their original, and no labelled rollout
    that is the only one of its prompt.
    """
    labelled = rows.filter(pl.col("labels").struct.field(criterion.name).is_not_null())
    if not compares(criterion):
        return labelled
    others = pl.col("completion").n_unique().over("messages") > 1
    return labelled.filter(probe=WHOLE).filter((pl.col("split") == ANCHOR) | others)


def rows_to_retest(judged: pl.DataFrame, rows: pl.DataFrame, criterion: Criterion) -> pl.DataFrame:
    """The rows of `judged` that the judge scores a second time, in reverse order: the anchors that the probes edit. For
    a judge that compares, their whole groups; for a panel, none."""
    if isinstance(criterion.judge, PanelJudge):
        return judged.clear()
    chosen = rows.filter(pl.col("probe") != WHOLE)
    column = "messages" if compares(criterion) else "id"
    return judged.filter(probe=WHOLE).join(chosen.select(column).unique(), on=column, how="semi").reverse()


def rule_gates(criteria: Sequence[Criterion]) -> dict[str, float]:
    """The gates that rules decide."""
    return {each.name: each.gate for each in criteria if each.gate is not None and isinstance(each.judge, RuleJudge)}


def with_gates(rows: pl.DataFrame, criteria: Sequence[Criterion]) -> pl.DataFrame:
    """Rows with `gated`: whether a rule's gate gives the reply a reward of 0, whatever other judges say. Only replies
    without content, and the anchors that these replace, are tried; null for the others."""
    without_content = pl.col("probe").is_in(list(DEGENERATE))
    replaced = pl.col("id").is_in(rows.filter(without_content)["id"].implode())
    tried = rows.with_row_index("place").filter(without_content | (replaced & (pl.col("probe") == WHOLE)))
    places, views = tried["place"], [as_rollout(row) for row in tried.iter_rows(named=True)]
    gated: list[bool | None] = [None] * rows.height
    for place in places:
        gated[place] = False
    for criterion in criteria:
        if criterion.gate is not None and isinstance(criterion.judge, RuleJudge):
            for index, (score, _) in criterion.judge.rule.decide_all(views):
                if score is not None and score < criterion.gate:
                    gated[places[index]] = True
    return rows.with_columns(pl.Series("gated", gated, dtype=pl.Boolean))


def compares(criterion: Criterion) -> bool:
    return any(each.judge.COMPARES_GROUP for each in criterion.singles)


def judgements_of(
    criterion: Criterion, rows: pl.DataFrame, scores: pl.DataFrame, retest: pl.DataFrame | None = None
) -> pl.DataFrame:
    """A row per reply that the criterion's judge scored, with `criterion`, `label`, `score`, `status`, `reason` and
    `details`; if it was scored twice (`repeated`), also `retest_score`."""
    label = pl.col("labels").struct.field(criterion.name).alias("label")
    first = scores.select("rollout_id", "criterion", "score", "status", "reason", "details")
    second = first.clear() if retest is None else retest
    repeated = second.select("rollout_id", pl.col("score").alias("retest_score"), pl.lit(True).alias("repeated"))
    return (
        rows.join(first, on="rollout_id", how="inner", maintain_order="left")
        .join(repeated, on="rollout_id", how="left", maintain_order="left")
        .with_columns(label, pl.col("repeated").fill_null(False))
        .drop("labels")
    )
