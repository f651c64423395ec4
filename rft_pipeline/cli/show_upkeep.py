"""What `rft verify` and `rft gc` print."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.filesize import decimal
from rich.markup import escape
from rich.progress import track as bar

from rft_pipeline.cli.console import err, line, note, out, print_json, table
from rft_pipeline.progress import counted
from rft_pipeline.store import Home
from rft_pipeline.store.tables import KEPT_HOURS
from rft_pipeline.upkeep.gc import Garbage
from rft_pipeline.upkeep.layout import KEEP
from rft_pipeline.upkeep.verify import Verified

LINE_EVERY = 5.0


def track(paths: list[Path], what: str) -> Iterator[Path]:
    """Yield the paths and show how many are done: a bar on a terminal, elsewhere a line every few seconds."""
    if err.is_terminal:
        yield from bar(paths, description=what, console=err, transient=True)
        return
    printed = time.monotonic()
    for number, path in enumerate(paths):
        if time.monotonic() - printed >= LINE_EVERY:
            printed = time.monotonic()
            note(f"{number}/{len(paths)} {what}")
        yield path


def verified(found: Verified, *, as_json: bool) -> None:
    """Each finding with its file and what to do; then the totals."""
    if as_json:
        print_json(asdict(found))
        return
    for finding in found.findings:
        level = "[bold red]error[/]" if finding.level == "error" else "[yellow]warning[/]"
        where = escape(f"{finding.folder}/{finding.file}".rstrip("/"))
        line(f"{level} {where}: {escape(finding.what)}")
        line(f"    {escape(finding.do)}")
    errors = sum(finding.level == "error" for finding in found.findings)
    line(
        f"{counted(found.records, 'record')}, {counted(found.files, 'file')}, {decimal(found.bytes)} read: "
        f"{counted(errors, 'error')}, {counted(len(found.findings) - errors, 'warning')}"
    )


def garbage(home: Home, found: Garbage, *, deleted: bool, as_json: bool) -> None:
    """What is deleted, or would be, and its size."""
    if as_json:
        records = [folder.relative_to(home.store).as_posix() for folder in found.records]
        lines = [asdict(each) for each in found.lines]
        print_json(
            {"freed": deleted, "lines": lines, "bytes": found.bytes, "records": records, "being_made": found.being_made}
        )
        return
    if not found.lines:
        line("there is nothing to delete")
    sizes = table("what", "count", "bytes")
    for each in found.lines:
        sizes.add_row(
            each.what,
            counted(each.count, each.unit.removesuffix("s")),
            "later" if each.bytes is None else decimal(each.bytes),
        )
    sizes.add_row("[bold]total[/]", "", f"[bold]{decimal(found.bytes)}[/]")
    if found.lines:
        out.print(sizes)
    if any(each.bytes is None for each in found.lines):
        line(
            f"later: rows leave a table at once. Its old files are kept for {KEPT_HOURS} h for processes that read "
            "them; the first `rft gc --yes` after that deletes them"
        )
    if found.being_made:
        stages = ", ".join(found.being_made)
        line(f"being made now: {stages}; their campaigns and all rows are left alone")
    if found.lines and not deleted:
        line(f"nothing was deleted; `rft gc --yes` deletes it. List what to keep in {escape(str(home.store / KEEP))}")
