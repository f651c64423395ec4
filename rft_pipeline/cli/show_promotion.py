"""What `rft promote`, `rft rollback` and `rft export` print."""

from pathlib import Path

from rich.markup import escape

from rft_pipeline.cli.console import err, out
from rft_pipeline.store import Record
from rft_pipeline.store.champions import Champion


def promoted(campaign: str, now: Champion, before: Champion | None) -> None:
    by = "by force: " if now.forced else ""
    _line(f"[bold]{campaign}[/]: {_named(now)} is the champion; {escape(by + now.why)}")
    if before is None:
        _line(f"before: base; `rft rollback {campaign}` goes back to it")
    elif before.content_hash != now.content_hash:
        _line(f"before: {_named(before)}; `rft rollback {campaign}` goes back to it")


def rolled_back(campaign: str, left: Champion, now: Champion | None) -> None:
    if now is None:
        _line(f"[bold]{campaign}[/]: no round is the champion and base is in force again, instead of {_named(left)}")
        _line(f"`rft promote {campaign}` brings it back")
        return
    _line(f"[bold]{campaign}[/]: {_named(now)} is the champion again, instead of {_named(left)}")


def exported(record: Record, target: Path) -> None:
    _line(f"[bold]{record.key}[/] ({record.content_hash}) → {escape(str(target))}")
    err.print(escape(f"to serve it: vllm serve {target}"), highlight=False, soft_wrap=True)


def _named(champion: Champion) -> str:
    return f"round {champion.round} ({champion.record})"


def _line(text: str) -> None:
    out.print(text, highlight=False, soft_wrap=True)
