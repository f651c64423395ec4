"""Judging rollouts: one judgement a rollout and criterion, made once and stored."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import polars as pl

from rft_pipeline.campaign.addresses import as_rollout, judge_of, judgement_addresses
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.judges import Engines, Judge, Judgement, JudgeSettings, PanelJudge, Status, make_judge
from rft_pipeline.judges.panel import combined
from rft_pipeline.progress import Progress
from rft_pipeline.rules import Rollout
from rft_pipeline.store.tables import Table, judged_by

ROWS, SECONDS = 64, 5.0
"""Judgements are stored in batches: after this many, or after this long."""
Row = dict[str, object]
MakeJudge = Callable[[JudgeSettings, Engines], Judge]
_COLUMNS = ("score", "status", "raw", "reason", "tokens", "tokens_out", "cost", "details")


def judge_rollouts(
    rollouts: pl.DataFrame,
    criteria: Sequence[Criterion],
    judges: Mapping[str, str],
    table: Table,
    engines: Engines,
    progress: Progress,
    make: MakeJudge = make_judge,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Make the judgements that `table` lacks.

    `rollouts` has rollout_id, messages, completion, finish_reason and fields; `judges` holds the content hash of each
    judge's model. Returns a row a rollout and criterion (rollout_id, criterion, score, status, raw, reason, tokens,
    tokens_out, cost, details), in the order of the rollouts; and how many judgements were made, by criterion.
    Raises `EngineError`; judgements made until then stay in the table.
    """
    views = [as_rollout(row) for row in rollouts.iter_rows(named=True)]
    judging = _Judging(rollouts["rollout_id"].to_list(), views, judges, table, engines, progress, make)
    found = []
    for criterion in criteria:
        if isinstance(criterion.judge, PanelJudge):
            scores = judging.panel(criterion, criterion.judge)
        else:
            scores = judging.single(criterion)
        found.append(scores.select("rollout_id", pl.lit(criterion.name).alias("criterion"), *_COLUMNS))
    return pl.concat(found), judging.made


@dataclass
class _Judging:
    """The rollouts to judge, and the number of judgements made so far."""

    ids: list[str]
    views: list[Rollout]
    judges: Mapping[str, str]
    table: Table
    engines: Engines
    progress: Progress
    make: MakeJudge
    made: dict[str, int] = field(default_factory=dict)

    def single(self, criterion: Criterion) -> pl.DataFrame:
        """A row a rollout, from the table or judged now."""
        wanted = judgement_addresses(self.ids, self.views, criterion, self.judges)
        once = wanted.unique("judgement_id", maintain_order=True)
        question = criterion.fingerprint, judge_of(criterion, self.judges)
        missing = self.table.missing(once, *judged_by(*question))
        self.made[criterion.name] = missing.height
        failures: list[Row] = []
        if missing.height:
            judge = self.make(criterion.judge, self.engines)
            shown = self._whole_groups(once, missing) if criterion.judge.COMPARES_GROUP else missing
            failures = self._judge(judge, shown, missing, question, criterion.name)
        return self._rows(wanted, question, failures)

    def panel(self, criterion: Criterion, how: PanelJudge) -> pl.DataFrame:
        """The panel's judgements, computed from those of its members, which are stored too."""
        members = [self.single(member) for member in criterion.members]
        wanted = judgement_addresses(self.ids, self.views, criterion, self.judges)
        question = criterion.fingerprint, judge_of(criterion, self.judges)
        opinions = zip(*(member.select("score", "status").iter_rows() for member in members), strict=True)
        found = wanted.with_columns(
            pl.Series("judgement", [combined(each, how.penalty) for each in opinions], pl.Object)
        )
        missing = self.table.missing(found.unique("judgement_id", maintain_order=True), *judged_by(*question))
        rows = [_row(row, row["judgement"], question) for row in missing.iter_rows(named=True)]
        self._keep([row for row in rows if row["status"] != Status.FAILED])
        return self._rows(wanted, question, [row for row in rows if row["status"] == Status.FAILED])

    def _whole_groups(self, once: pl.DataFrame, missing: pl.DataFrame) -> pl.DataFrame:
        """All distinct replies to the prompts that have a reply without a judgement."""
        prompts = {self.views[place].group_key for place in missing["place"]}
        return once.filter(
            pl.Series([self.views[place].group_key in prompts for place in once["place"]], dtype=pl.Boolean)
        )

    def _judge(
        self, judge: Judge, shown: pl.DataFrame, missing: pl.DataFrame, question: tuple[str, str], name: str
    ) -> list[Row]:
        """Judge `shown` and store those that are `missing`; returns the failed ones, which are not stored."""
        wanted, addresses = set(missing["judgement_id"]), shown.rows(named=True)
        failures: list[Row] = []
        waiting, since = [], time.monotonic()
        with self.progress.counting(f"judgements of {name}", missing.height):
            try:
                for batch in judge.score([self.views[place] for place in shown["place"]]):
                    rows = [_row(addresses[place], judgement, question) for place, judgement in batch]
                    rows = [row for row in rows if row["judgement_id"] in wanted]
                    failures += [row for row in rows if row["status"] == Status.FAILED]
                    waiting += [row for row in rows if row["status"] != Status.FAILED]
                    if len(waiting) >= ROWS or time.monotonic() - since > SECONDS:
                        self._keep(waiting)
                        waiting, since = [], time.monotonic()
                    self.progress.advance(len(rows))
            finally:
                self._keep(waiting)
        return failures

    def _keep(self, rows: list[Row]) -> None:
        if rows:
            self.table.append(pl.DataFrame(rows, schema=self.table.schema))

    def _rows(self, wanted: pl.DataFrame, question: tuple[str, str], failures: list[Row]) -> pl.DataFrame:
        kept = self.table.read(wanted.unique("judgement_id", maintain_order=True), *judged_by(*question))
        failed = pl.DataFrame(failures, schema=self.table.schema).join(kept, on="judgement_id", how="anti")
        scores = pl.concat([kept.select(self.table.schema.names()), failed])  # another run may have made it
        return wanted.join(
            scores.drop("subject", "criterion", "judge"), on="judgement_id", how="left", maintain_order="left"
        )


def _row(address: Row, judgement: Judgement, question: tuple[str, str]) -> Row:
    criterion, judge = question
    named = {"judgement_id": address["judgement_id"], "subject": address["subject"]}
    details = json.dumps(dict(judgement.details)) if judgement.details else None
    plain = {**asdict(judgement), "status": judgement.status.value, "details": details}
    return {**named, "criterion": criterion, "judge": judge, **plain}
