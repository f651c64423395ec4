"""The judgements of a rollout as a table, with those of a checklist's items."""

from collections.abc import Iterable

from rich.markup import escape
from rich.table import Table

from rft_pipeline.cli.console import table
from rft_pipeline.cli.words import plain, score
from rft_pipeline.lineage.judgements import ItemFacts, JudgementFacts


def judgements_table(judgements: Iterable[JudgementFacts]) -> Table:
    made = table("criterion", "version", "judge", "score", "status", "reason", "raw")
    for each in judgements:
        judge = each.judge if each.judge == "rule" else f"{each.protocol} {each.judge[:8]}"
        texts = _cell(each.reason), _cell(each.raw)
        made.add_row(each.criterion, each.fingerprint[:8], judge, score(each.score), each.status, *texts)
        for item in each.items:
            made.add_row(*_item(item))
    return made


def _item(item: ItemFacts) -> tuple[str, ...]:
    asked = _cell(f"{item.points:+g} points: {item.criterion}")
    status = item.status or "deleted"
    return f"  item {item.judgement_id[:8]}", "", "", score(item.score), status, asked, _cell(item.reason or item.raw)


def _cell(text: str | None) -> str:
    return escape(plain(text or "", 160))
