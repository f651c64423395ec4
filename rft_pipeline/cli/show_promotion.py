"""What `rft promote`, `rft rollback` and `rft export` print."""

from pathlib import Path

from rich.markup import escape

from rft_pipeline.cli.console import line, note
from rft_pipeline.store import Record
from rft_pipeline.store.champions import Champion


def promoted(campaign: str, now: Champion, before: Champion | None) -> None:
    forced = "by force: " if now.forced else ""
    line(f"[bold]{campaign}[/]: {_named(now)} is the champion; {escape(forced + now.why)}")
    if before is None or before.content_hash != now.content_hash:
        previous = "base" if before is None else _named(before)
        line(f"it replaces {previous}; `rft rollback {campaign}` restores it")


def rolled_back(campaign: str, left: Champion, now: Champion | None) -> None:
    if now is not None:
        line(f"[bold]{campaign}[/]: {_named(now)} is the champion again, instead of {_named(left)}")
        return
    line(f"[bold]{campaign}[/]: there is no champion; base replaces {_named(left)}")
    line(f"`rft promote {campaign}` promotes it again")


def exported(record: Record, target: Path) -> None:
    line(f"[bold]{record.key}[/] ({record.content_hash}) → {escape(str(target))}")
    note(f"to serve it: vllm serve {target}")


def _named(champion: Champion) -> str:
    return f"round {champion.round} ({champion.record})"
