"""Judge scores: one judgement a rollout and criterion, made once and kept."""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from rft_pipeline.addresses import as_rollout, judge_of, judgement_addresses
from rft_pipeline.engines import Scorer
from rft_pipeline.judges import Judge, Judgement, Rule, model_judge
from rft_pipeline.progress import Progress
from rft_pipeline.rubric import Criterion, RuleJudge
from rft_pipeline.rules import Rollout
from rft_pipeline.store.tables import Table, asked_of_judge

CHUNK = 64
"""Rollouts judged between two appends."""


def judge_rollouts(
    rollouts: pl.DataFrame,
    criteria: Sequence[Criterion],
    judge_model: str,
    table: Table,
    engine: Callable[[], Scorer],
    progress: Progress,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Judge what `table` lacks.

    `rollouts` has rollout_id, messages, completion, finish_reason and fields. Returns a row a rollout and criterion
    (rollout_id, criterion, score, status, reason), ordered as the rollouts, and how many judgements were made, by
    criterion. `engine` is called only when a model must judge. Raises `EngineError`; what was judged stays.
    """
    views = [as_rollout(row) for row in rollouts.iter_rows(named=True)]
    made, found = {}, []
    shared: list[Scorer] = []

    def judge_by(criterion: Criterion) -> Judge:
        if isinstance(criterion.judge, RuleJudge):
            return Rule(criterion.judge)
        if not shared:
            shared.append(engine())
        return model_judge(criterion.judge, shared[0])

    for criterion in criteria:
        asked = judge_of(criterion, judge_model)
        wanted = judgement_addresses(rollouts["rollout_id"].to_list(), views, criterion, judge_model)
        narrow = asked_of_judge(criterion.fingerprint, asked)
        missing = table.missing(wanted.unique("judgement_id", maintain_order=True), *narrow)
        made[criterion.name] = missing.height
        if missing.height:
            fixed = {"criterion": criterion.fingerprint, "judge": asked}
            _judge_missing(missing, views, judge_by(criterion), fixed, table, progress, criterion.name)
        scores = table.read(wanted.unique("judgement_id", maintain_order=True), *narrow)
        found.append(
            wanted.join(
                scores.drop("subject", "criterion"), on="judgement_id", how="left", maintain_order="left"
            ).select(
                "rollout_id", pl.lit(criterion.name).alias("criterion"), "score", "status", "raw", "reason", "tokens"
            )
        )
    return pl.concat(found), made


def _judge_missing(
    missing: pl.DataFrame,
    views: list[Rollout],
    judge: Judge,
    fixed: dict[str, str],
    table: Table,
    progress: Progress,
    name: str,
) -> None:
    with progress.counting(f"judgements of {name}", missing.height):
        for chunk in missing.iter_slices(CHUNK):
            judgements = judge.score([views[place] for place in chunk["place"]])
            rows = [
                {**fixed, "judgement_id": row["judgement_id"], "subject": row["subject"], **_columns(judgement)}
                for row, judgement in zip(chunk.iter_rows(named=True), judgements, strict=True)
            ]
            table.append(pl.DataFrame(rows, schema=table.schema))
            progress.advance(len(rows))


def _columns(judgement: Judgement) -> dict[str, Any]:
    return {
        "score": judgement.score,
        "status": judgement.status.value,
        "raw": judgement.raw,
        "reason": judgement.reason,
        "tokens": judgement.tokens,
    }
