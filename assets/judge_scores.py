"""Each criterion's judgement on each rollout."""

from typing import Any

import polars as pl

from rft_pipeline.store import Record

from .checks import judges_answer
from .stage import AssetCheck, Binding
from .tables import bar, frame, lines, markdown, shown


def _metadata(record: Record) -> dict[str, Any]:
    rows = frame(record)
    score = pl.col("score")
    table = rows.group_by("criterion", maintain_order=True).agg(
        score.mean().alias("mean"),
        score.std().alias("std"),
        score.quantile(0.1).alias("p10"),
        score.quantile(0.9).alias("p90"),
        (pl.col("status") != "scored").mean().alias("unscored share"),
    )
    return {"dagster/row_count": rows.height, "scores": markdown(table)}


def _summary(record: Record) -> str:
    means = {name.removeprefix("score_"): mean for name, mean in record.metrics.items() if name.startswith("score_")}
    rows = [(name, f"{bar(mean)} {shown(mean)}") for name, mean in means.items()]
    unscored = record.metrics["unscored_share"]
    said = f"**{record.rows['judgements']} judgements**, {unscored:.0%} of them unscored."
    return f"{said}\n\n{lines(rows, ('criterion', 'mean score'))}"


BINDING = Binding(
    stage="judge_scores",
    kind="deltalake",
    summary=_summary,
    metadata=_metadata,
    checks=(AssetCheck("unscored_share", "Few enough judgements failed.", judges_answer),),
)
