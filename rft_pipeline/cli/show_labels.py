"""What `rft labels` prints."""

import json
import math
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from rft_pipeline.campaign import Campaign
from rft_pipeline.cli.console import err, out
from rft_pipeline.cli.words import printable
from rft_pipeline.labels.exports import Export
from rft_pipeline.labels.importing import Imported
from rft_pipeline.prompts.rows import SHOWN
from rft_pipeline.stats import Interval
from rft_pipeline.stats.ppi import Estimates


def exported(export: Export, path: Path, *, as_json: bool) -> None:
    """What was drawn, where it lies, and what to do with it."""
    if as_json:
        print(json.dumps({**asdict(export), "file": str(path)}, indent=2))
        return
    what = "replies to held-out prompts" if export.held_out else "rollouts"
    say = f"{export.drawn} of {export.population} {what}, {export.prompts} prompts: [bold]{escape(str(path))}[/]"
    out.print(say, highlight=False, soft_wrap=True)
    for name, asked in export.criteria.items():
        out.print(f"  {name} {escape(printable(asked.hint))}", highlight=False, soft_wrap=True)
    back = f"rft labels import {export.campaign} {path}"
    out.print(
        f"Fill in the criteria and your name as annotator, leave cells empty where you cannot tell, then: {back}",
        highlight=False,
        soft_wrap=True,
    )


def imported(done: Imported, found: dict[str, Estimates], left_out: list[str], *, as_json: bool) -> None:
    """What became of the rows, which labels do not count, and what the others say about the judge."""
    if as_json:
        plain = {name: each.as_plain() for name, each in found.items()}
        print(json.dumps({**asdict(done), "left_out": left_out, "estimates": plain}, indent=2))
        return
    for rejected in done.rejected[:SHOWN]:
        err.print(f"[yellow]left out[/] {escape(printable(rejected))}", highlight=False, soft_wrap=True)
    if len(done.rejected) > SHOWN:
        err.print(f"… and {len(done.rejected) - SHOWN} more")
    who = f" by {', '.join(done.annotators)}" if done.annotators else ""
    counts = f"{done.new} new labels, {done.changed} changed, {done.unchanged} as they were{escape(printable(who))}"
    rest = f"{done.empty_rows} rows without a label, {len(done.rejected)} left out"
    out.print(f"{counts}; {rest}", highlight=False, soft_wrap=True)
    if done.outdated:
        said = f"{done.outdated} answer what was asked before: what the same people say to what is asked now stays"
        out.print(said, highlight=False, soft_wrap=True)
    for why in left_out:
        err.print(f"[yellow]warning[/] {escape(printable(why))}", highlight=False, soft_wrap=True)
    if found:
        table = Table("mean", "labelled", "judge alone", "people alone", "both (PPI++)", box=None, header_style="bold")
        for name, each in found.items():
            table.add_row(name, str(each.labelled), *map(_interval, (each.judge, each.human, each.powered)))
        out.print(table)


def held_out(campaign: Campaign, prompts: int) -> None:
    """What labels of the replies to so many held-out prompts are worth to the promotion."""
    least = campaign.promotion.min_labelled_prompts
    if prompts >= least:
        said = f"they correct the judges in the promotion: rft run {campaign.name}"
    else:
        said = (
            f"from {least} on (promotion.min_labelled_prompts) they correct the judges in the promotion: "
            f"rft labels export {campaign.name} --held-out"
        )
    if prompts:
        what = f"{prompts} held-out prompts have labels of every reply that the promotion compares"
        out.print(f"{what}; {said}", highlight=False, soft_wrap=True)


def _interval(found: Interval) -> str:
    if math.isnan(found.lower95):
        return "–" if math.isnan(found.mean) else f"{found.mean:.2f}"
    return f"{found.mean:.2f} [{found.lower95:.2f}, {found.upper95:.2f}]".replace("[", r"\[")
