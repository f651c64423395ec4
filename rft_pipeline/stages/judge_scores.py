"""Judge scores: one judgement a rollout and criterion, made once and kept.

Identical completions of one prompt are one subject, judged once per criterion and judge, whatever round or campaign
they come from.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from rft_pipeline.engines import Scorer
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.judges import Judge, Judgement, Rule, model_judge
from rft_pipeline.progress import Progress
from rft_pipeline.rubric import Criterion, RuleJudge
from rft_pipeline.rules import Rollout
from rft_pipeline.store.tables import Table, judgement_id

CHUNK = 64
"""Rollouts judged between two appends."""


def as_rollout(row: dict[str, Any]) -> Rollout:
    """A judge's view of a row with the columns completion, finish_reason, messages and fields (JSON)."""
    return Rollout(
        prompt=transcript(row["messages"]),
        completion=row["completion"],
        finish_reason=row["finish_reason"],
        fields=json.loads(row["fields"]),
    )


def transcript(messages: str) -> str:
    """A prompt as a judge reads it: its text, or the turns in order when there are several."""
    turns = [turn for turn in json.loads(messages) if turn["role"] != "system"]
    if len(turns) == 1:
        return str(turns[0]["content"])
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)


def subject_of(rollout: Rollout, criterion: Criterion) -> str:
    """What the criterion's judge is shown: a model sees the texts, a rule also how the reply ended and the fields."""
    return subject_of_model(rollout) if criterion.judged else subject_of_rule(rollout)


def subject_of_model(rollout: Rollout) -> str:
    return fingerprint([rollout.prompt, rollout.completion])


def subject_of_rule(rollout: Rollout) -> str:
    return fingerprint([rollout.prompt, rollout.completion, rollout.finish_reason, dict(rollout.fields)])


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

    def judge_of(criterion: Criterion) -> Judge:
        if isinstance(criterion.judge, RuleJudge):
            return Rule(criterion.judge)
        if not shared:
            shared.append(engine())
        return model_judge(criterion.judge, shared[0])

    for criterion in criteria:
        judge = judge_model if criterion.judged else "rule"
        subjects = [subject_of(view, criterion) for view in views]
        wanted = pl.DataFrame(
            {
                "rollout_id": rollouts["rollout_id"],
                "subject": subjects,
                "judgement_id": [judgement_id(criterion.fingerprint, judge, subject) for subject in subjects],
                "place": range(len(views)),
            }
        )
        narrow = (pl.col("criterion") == criterion.fingerprint, pl.col("judge") == judge)
        missing = table.missing(wanted.unique("judgement_id", maintain_order=True), *narrow)
        made[criterion.name] = missing.height
        if missing.height:
            fixed = {"criterion": criterion.fingerprint, "judge": judge}
            _judge_missing(missing, views, judge_of(criterion), fixed, table, progress, criterion.name)
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
