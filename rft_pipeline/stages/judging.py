"""Judging rollouts: one judgement a rollout and criterion, made once and stored."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial

import polars as pl

from rft_pipeline.campaign.addresses import as_rollout, judge_of, judgement_addresses
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.campaign.subjects import Subjects, judged_views
from rft_pipeline.judges import (
    Engines,
    Judge,
    Judgement,
    JudgeSettings,
    ModelJudge,
    PanelJudge,
    Status,
    make_judge,
    squashed,
)
from rft_pipeline.judges.base import Opinion
from rft_pipeline.judges.checklist import items_of, points
from rft_pipeline.judges.panel import combined
from rft_pipeline.progress import Progress, judgements_of
from rft_pipeline.rules import Rollout
from rft_pipeline.stages.together import Together
from rft_pipeline.stages.waiting import JudgementRow, Waiting
from rft_pipeline.store.rows import judged_by
from rft_pipeline.store.tables import Table

MakeJudge = Callable[[JudgeSettings, Engines], Judge]
_COLUMNS = ("score", "status", "raw", "reason", "tokens", "tokens_out", "cost", "details")


@contextmanager
def judging(
    rollouts: pl.DataFrame,
    criteria: Sequence[Criterion],
    judges: Mapping[str, str],
    table: Table,
    engines: Engines,
    progress: Progress,
    make: MakeJudge = make_judge,
    served: Collection[str] = (),
) -> Iterator[Callable[[], tuple[pl.DataFrame, dict[str, int]]]]:
    """Make the judgements that `table` lacks, in two parts: within the context, the judges behind servers (`served`
    names them) are asked in the background and at the same time; the function makes the other judgements, one criterion
    after the other, and returns all.

    `rollouts` has rollout_id, messages, completion, finish_reason and fields; `judges` holds the content hash of each
    judge's model. Returned are a row a rollout and criterion (rollout_id, criterion, score, status, raw, reason,
    tokens, tokens_out, cost, details), in the order of the rollouts; and how many judgements were made, by criterion.
    Raises `EngineError` once all have ended; judgements made until then stay in the table.

    If an `Exception` leaves the context, it first waits for the served judges, so that no answer is lost; it does not
    wait when the process is interrupted.
    """
    views = [as_rollout(row) for row in rollouts.iter_rows(named=True)]
    work = _Judging(rollouts["rollout_id"].to_list(), Subjects(views), judges, table, engines, progress, make)
    together = Together(
        {single.name: partial(work.single, single) for single in same}
        for same in _served_by_question(criteria, judges, served)
    )
    try:
        yield lambda: work.all_of(criteria, together)
    except Exception:
        together.wait()
        raise


def _served_by_question(
    criteria: Sequence[Criterion], judges: Mapping[str, str], served: Collection[str]
) -> list[list[Criterion]]:
    """The criteria, members of panels and items of checklists whose judge is served; those with the same question to
    the same judge are one list, since the first finds the answers of all."""
    found: dict[tuple[str, str], list[Criterion]] = {}
    for single in (single for criterion in criteria for single in criterion.singles):
        if isinstance(single.judge, ModelJudge) and single.judge.by in served:
            found.setdefault((single.question, judge_of(single, judges)), []).append(single)
    return list(found.values())


@dataclass
class _Judging:
    """The rollouts to judge, and the number of judgements made so far."""

    ids: list[str]
    seen: Subjects
    judges: Mapping[str, str]
    table: Table
    engines: Engines
    progress: Progress
    make: MakeJudge
    made: dict[str, int] = field(default_factory=dict)

    def all_of(self, criteria: Sequence[Criterion], together: Together) -> tuple[pl.DataFrame, dict[str, int]]:
        """Judge the criteria that are not judged together already; the rows and numbers of all."""
        singles: dict[str, pl.DataFrame] = {}
        for single in (single for criterion in criteria for single in criterion.singles):
            if single.name not in together.names:
                singles[single.name] = self.single(single)
        singles |= together.results()
        found = []
        for criterion in criteria:
            members = [singles[each.name] for each in criterion.members]
            if isinstance(criterion.judge, PanelJudge):
                scores = self.computed(criterion, self.of_panel(criterion.judge, members))
            elif members:
                scores = self.computed(criterion, self.of_items(*members))
            else:
                scores = singles[criterion.name]
            found.append(scores.select("rollout_id", pl.lit(criterion.name).alias("criterion"), *_COLUMNS))
        names = [single.name for criterion in criteria for single in criterion.singles]
        return pl.concat(found), {name: self.made[name] for name in names}

    def single(self, criterion: Criterion) -> pl.DataFrame:
        """A row a rollout, or a row a rollout and item of its rubric, from the table or judged now."""
        wanted = judgement_addresses(self.ids, self.seen, criterion, self.judges)
        once = wanted.unique("judgement_id", maintain_order=True)
        question = self._question(criterion)
        missing = self.table.missing(once, *judged_by(*question))
        self.made[criterion.name] = missing.height
        failures: list[JudgementRow] = []
        if missing.height:
            judge = self.make(criterion.judge, self.engines)
            compares, columns = criterion.judge.COMPARES_GROUP, criterion.judge.shown_columns
            shown = self._whole_groups(once, missing, columns) if compares else missing
            views = [view for _, view in judged_views(self.seen.views, criterion.payload)]
            failures = self._judge(judge, views, _by_prompt(shown, views), missing, question, criterion.name)
        return self._rows(wanted, criterion, failures)

    def of_panel(self, how: PanelJudge, members: Sequence[pl.DataFrame]) -> list[Judgement]:
        opinions = zip(*(member.select(Opinion._fields).iter_rows() for member in members), strict=True)
        return [combined([Opinion(*each) for each in of_reply], how.penalty) for of_reply in opinions]

    def of_items(self, judged: pl.DataFrame) -> list[Judgement]:
        rows = judged.select(Opinion._fields).iter_rows()
        rubrics = [items_of(view.fields) for view in self.seen.views]
        return [points(items, [Opinion(*next(rows)) for _ in items]) for items in rubrics]

    def computed(self, criterion: Criterion, judgements: Sequence[Judgement]) -> pl.DataFrame:
        """The rows of judgements that were computed from those of members or items, which are stored too."""
        wanted = judgement_addresses(self.ids, self.seen, criterion, self.judges)
        question = self._question(criterion)
        found = wanted.with_columns(pl.Series("judgement", judgements, pl.Object))
        missing = self.table.missing(found.unique("judgement_id", maintain_order=True), *judged_by(*question))
        rows = [_row(row, row["judgement"], question) for row in missing.iter_rows(named=True)]
        self._keep([row for row in rows if row["status"] != Status.FAILED])
        return self._rows(wanted, criterion, [row for row in rows if row["status"] == Status.FAILED])

    def _whole_groups(self, once: pl.DataFrame, missing: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
        """All distinct replies to the prompts that have a reply without a judgement."""
        prompts = {self.seen.views[place].group(columns) for place in missing["place"]}
        return once.filter(
            pl.Series([self.seen.views[place].group(columns) in prompts for place in once["place"]], dtype=pl.Boolean)
        )

    def _judge(
        self,
        judge: Judge,
        views: Sequence[Rollout],
        shown: pl.DataFrame,
        missing: pl.DataFrame,
        question: tuple[str, str],
        name: str,
    ) -> list[JudgementRow]:
        """Judge `shown` and store those that are `missing`; returns the failed ones, which are not stored."""
        wanted, addresses = set(missing["judgement_id"]), shown.rows(named=True)
        failures: list[JudgementRow] = []
        waiting = Waiting(self._keep)
        what = judgements_of(name)
        with self.progress.counting(what, missing.height), closing(waiting):
            for batch in judge.score([views[place] for place in shown["place"]]):
                rows = [_row(addresses[place], judgement, question) for place, judgement in batch]
                rows = [row for row in rows if row["judgement_id"] in wanted]
                failures += [row for row in rows if row["status"] == Status.FAILED]
                waiting.add([row for row in rows if row["status"] != Status.FAILED])
                self.progress.advance(len(rows), what)
        return failures

    def _keep(self, rows: list[JudgementRow]) -> None:
        if rows:
            self.table.append(pl.DataFrame(rows, schema=self.table.schema))

    def _question(self, criterion: Criterion) -> tuple[str, str]:
        return criterion.question, judge_of(criterion, self.judges)

    def _rows(self, wanted: pl.DataFrame, criterion: Criterion, failures: list[JudgementRow]) -> pl.DataFrame:
        once = wanted.unique("judgement_id", maintain_order=True)
        kept = self.table.read(once, *judged_by(*self._question(criterion)))
        failed = pl.DataFrame(failures, schema=self.table.schema).join(kept, on="judgement_id", how="anti")
        scores = pl.concat([kept.select(self.table.schema.names()), failed])  # another run may have made it
        return wanted.join(
            squashed(scores, criterion.payload).drop("subject", "criterion", "judge"),
            on="judgement_id",
            how="left",
            maintain_order="left",
        )


def _by_prompt(shown: pl.DataFrame, views: Sequence[Rollout]) -> pl.DataFrame:
    """Replies to one prompt one after the other: engines compute the prompt of a batch once."""
    keys = [views[place].group_key for place in shown["place"]]
    first = {key: n for n, key in reversed(list(enumerate(keys)))}
    return shown[sorted(range(len(keys)), key=lambda n: first[keys[n]])]


def _row(address: JudgementRow, judgement: Judgement, question: tuple[str, str]) -> JudgementRow:
    criterion, judge = question
    named = {"judgement_id": address["judgement_id"], "subject": address["subject"]}
    details = json.dumps(dict(judgement.details)) if judgement.details else None
    plain = {**asdict(judgement), "status": judgement.status.value, "details": details}
    if judgement.measured is not None:
        plain["score"] = None
    return {**named, "criterion": criterion, "judge": judge, **plain}
