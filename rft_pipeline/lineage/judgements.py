"""The judgements of a rollout, and those of the items of a checklist."""

from dataclasses import dataclass, replace

import polars as pl

from rft_pipeline.campaign.addresses import REPLY, as_rollout, judged_criteria_in
from rft_pipeline.campaign.rubric import ITEMS
from rft_pipeline.campaign.subjects import subjects_of
from rft_pipeline.judges.checklist import items_of
from rft_pipeline.lineage.index import Index
from rft_pipeline.store import judgements_table
from rft_pipeline.store.rows import judged_by, judgement_id


@dataclass(frozen=True)
class ItemFacts:
    """The judgement of one item of a prompt's rubric."""

    judgement_id: str
    criterion: str
    points: float
    tags: tuple[str, ...]
    score: float | None
    status: str | None
    """Null if the table no longer has the judgement."""
    reason: str | None
    raw: str | None


@dataclass(frozen=True)
class JudgementFacts:
    """A judgement of a rollout."""

    criterion: str
    fingerprint: str
    protocol: str
    judge: str
    """Content hash of the judge model, or `rule`."""
    score: float | None
    status: str
    reason: str | None
    raw: str | None
    tokens: int | None
    records: tuple[str, ...]
    """The judge scores and eval reports that hold it."""
    items: tuple[ItemFacts, ...] = ()
    """The items that a checklist's score is made of; only in the trace of a rollout."""


def with_items(index: Index, rollout_id: str, judgement: JudgementFacts) -> JudgementFacts:
    """The judgement with those of its items, if it is a checklist's; the rubric is the one of its first record."""
    record = index.by_address[judgement.records[0]]
    replies = record if record.payload["stage"] == "eval_reports" else index.parent(record, "rollouts")
    if judgement.protocol != "checklist" or replies is None:
        return judgement
    path = replies.path(f"{replies.payload['stage']}.parquet")
    rows = pl.scan_parquet(path, glob=False).filter(rollout_id=rollout_id).select(REPLY).head(1).collect()
    asked = next(each for each in judged_criteria_in(record.payload) if each.name == f"{judgement.criterion}.{ITEMS}")
    views = [as_rollout(row) for row in rows.iter_rows(named=True)]
    keys = [judgement_id(*asked.key, subject) for subject in subjects_of(views, asked.payload)]
    wanted = pl.DataFrame({"judgement_id": keys}, schema={"judgement_id": pl.String})
    columns = ("judgement_id", "score", "status", "reason", "raw")
    kept = judgements_table(index.home.store).read(wanted.unique(), *judged_by(*asked.key)).select(columns)
    found = wanted.join(kept, on="judgement_id", how="left", maintain_order="left").iter_rows(named=True)
    items = [item for view in views for item in items_of(view.fields)]
    return replace(
        judgement,
        items=tuple(ItemFacts(**item._asdict(), **row) for item, row in zip(items, found, strict=True)),
    )
