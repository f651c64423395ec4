"""What `rft verify` and `rft gc` print."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.filesize import decimal
from rich.markup import escape
from rich.progress import track as bar
from rich.table import Table

from rft_pipeline.cli.console import err, out
from rft_pipeline.store import Home
from rft_pipeline.store.tables import KEPT_HOURS
from rft_pipeline.upkeep.gc import Garbage
from rft_pipeline.upkeep.layout import KEEP
from rft_pipeline.upkeep.verify import Verified

LINE_EVERY = 5.0


def track(paths: list[Path], what: str) -> Iterator[Path]:
    """The paths one by one: with a bar on a terminal, elsewhere with a line every few seconds."""
    if err.is_terminal:
        yield from bar(paths, description=what, console=err, transient=True)
        return
    said = time.monotonic()
    for number, path in enumerate(paths):
        if time.monotonic() - said >= LINE_EVERY:
            said = time.monotonic()
            err.print(f"{number}/{len(paths)} {what}", highlight=False)
        yield path


def verified(found: Verified, *, as_json: bool) -> None:
    """Each finding with its folder, its file and what to do; then what was looked at."""
    if as_json:
        print(json.dumps(asdict(found), indent=2))
        return
    for finding in found.findings:
        level = "[bold red]error[/]" if finding.level == "error" else "[yellow]warning[/]"
        where = escape(str(Path(finding.folder) / finding.file))
        out.print(f"{level} {where}: {escape(finding.what)}", highlight=False, soft_wrap=True)
        out.print(f"    {escape(finding.do)}", highlight=False, soft_wrap=True)
    errors = sum(finding.level == "error" for finding in found.findings)
    out.print(
        f"{found.records} records, {found.files} files, {decimal(found.bytes)} read: "
        f"{errors} errors, {len(found.findings) - errors} warnings",
        highlight=False,
    )


def garbage(home: Home, found: Garbage, *, freed: bool, as_json: bool) -> None:
    """What is freed, or would be, and how much."""
    if as_json:
        addresses = [folder.relative_to(home.store).as_posix() for folder in found.records]
        lines = [asdict(line) for line in found.lines]
        said = {"freed": freed, "lines": lines, "bytes": found.bytes, "records": addresses}
        print(json.dumps(said | {"being_made": found.being_made}, indent=2))
        return
    table = Table("what", "count", "bytes", box=None, header_style="bold")
    for line in found.lines:
        table.add_row(line.what, f"{line.count} {line.unit}", "later" if line.bytes is None else decimal(line.bytes))
    table.add_row("[bold]total[/]", "", f"[bold]{decimal(found.bytes)}[/]")
    out.print(table)
    if any(line.bytes is None for line in found.lines):
        out.print(
            f"later: rows leave a table at once; its old files stay {KEPT_HOURS} h for whoever is reading them, "
            "and go with the first `rft gc --yes` after that",
            soft_wrap=True,
            highlight=False,
        )
    if found.being_made:
        stages = ", ".join(found.being_made)
        out.print(f"left alone, since {stages} is being made: its campaign, and all rows", highlight=False)
    if not freed:
        out.print(
            f"nothing was changed; `rft gc --yes` frees it. To keep more, name it in {escape(str(home.store / KEEP))}",
            soft_wrap=True,
            highlight=False,
        )
