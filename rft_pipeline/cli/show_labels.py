"""What `rft labels` prints."""

import math
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape

from rft_pipeline.campaign import Campaign
from rft_pipeline.cli.console import line, note, out, print_json, table, warn
from rft_pipeline.cli.words import printable
from rft_pipeline.labels.exports import Export
from rft_pipeline.labels.importing import Imported
from rft_pipeline.prompts.rows import SHOWN
from rft_pipeline.stats import Interval, plain
from rft_pipeline.stats.ppi import Estimates


def exported(export: Export, path: Path, *, as_json: bool) -> None:
    """What was drawn, the path of the file, and what to do with it."""
    if as_json:
        print_json({**asdict(export), "file": str(path)})
        return
    what = "replies to held-out prompts" if export.held_out else "rollouts"
    line(f"{export.drawn} of {export.population} {what}, {export.prompts} prompts: [bold]{escape(str(path))}[/]")
    for name, asked in export.criteria.items():
        line(f"  {name} {escape(printable(asked.hint))}")
    line(
        "Fill in the criteria and your name as annotator; leave a cell empty if you cannot tell. Then: "
        f"rft labels import {export.campaign} {path}"
    )


def imported(done: Imported, found: dict[str, Estimates], left_out: list[str], *, as_json: bool) -> None:
    """How many labels were stored, which labels do not count, and the estimates from the others."""
    if as_json:
        estimates = {name: plain(each) for name, each in found.items()}
        print_json({**asdict(done), "left_out": left_out, "estimates": estimates})
        return
    for rejected in done.rejected[:SHOWN]:
        note(f"left out: {printable(rejected)}")
    if len(done.rejected) > SHOWN:
        note(f"… and {len(done.rejected) - SHOWN} more")
    who = f" by {', '.join(done.annotators)}" if done.annotators else ""
    counts = f"{done.new} new labels, {done.changed} changed, {done.unchanged} unchanged{escape(printable(who))}"
    rest = f"{done.empty_rows} rows without a label, {len(done.rejected)} left out"
    line(f"{counts}; {rest}")
    if done.outdated:
        line(f"{done.outdated} answer an older question; the same people's answers to the current question are kept")
    for why in left_out:
        warn(printable(why))
    if found:
        means = table("mean", "labelled", "judge alone", "people alone", "both (PPI++)")
        for name, each in found.items():
            means.add_row(name, str(each.labelled), *map(_interval, (each.judge, each.human, each.powered)))
        out.print(means)


def held_out(campaign: Campaign, prompts: int) -> None:
    """Whether labels of the replies to so many held-out prompts are enough to correct the judges in the promotion."""
    if not prompts:
        return
    least = campaign.promotion.min_labelled_prompts
    if prompts >= least:
        effect = f"they correct the judges in the promotion: rft run {campaign.name}"
    else:
        effect = (
            f"from {least} on (promotion.min_labelled_prompts) they correct the judges in the promotion: "
            f"rft labels export {campaign.name} --held-out"
        )
    line(f"{prompts} held-out prompts have labels of every reply that the promotion compares; {effect}")


def _interval(found: Interval) -> str:
    if math.isnan(found.lower95):
        return "–" if math.isnan(found.mean) else f"{found.mean:.2f}"
    return f"{found.mean:.2f} [{found.lower95:.2f}, {found.upper95:.2f}]".replace("[", r"\[")
