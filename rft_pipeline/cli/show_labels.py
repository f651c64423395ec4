"""What `rft labels` prints."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape

from rft_pipeline.campaign import Campaign
from rft_pipeline.cli.console import line, note, out, print_json, table, warn
from rft_pipeline.cli.words import preference_line, printable
from rft_pipeline.labels.exports import Export
from rft_pipeline.labels.importing import Imported
from rft_pipeline.labels.pairs import PairExport
from rft_pipeline.labels.preferences import Preferences
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


def exported_pairs(export: PairExport, path: Path, *, as_json: bool) -> None:
    """What was drawn, the path of the file, and what to do with it."""
    if as_json:
        print_json({**asdict(export), "file": str(path)})
        return
    what = f"pairs of replies, {export.of} and {export.against} in hidden order, of {export.prompts} held-out prompts"
    if not export.held_out:
        what = f"pairs of rollouts of {export.of}, of {export.prompts} train prompts"
    line(f"{export.drawn} {what}: [bold]{escape(str(path))}[/]")
    if export.identical:
        line(f"{export.identical} prompts are left out: both replies are the same")
    line(
        "Write left, right or tie under preferred, and your name as annotator; leave a cell empty if you cannot tell. "
        f"Then: rft labels import {export.campaign} {path}"
    )


def imported(done: Imported, found: dict[str, Estimates], left_out: list[str], *, as_json: bool) -> None:
    """How many labels were stored, which labels do not count, and the estimates from the others."""
    if as_json:
        print_json({**asdict(done), **_plain(found, left_out)})
        return
    _counts(done, "labels", "a label")
    if done.outdated:
        line(f"{done.outdated} answer an older question; the same people's answers to the current question are kept")
    estimated(found, left_out)


def imported_pairs(done: Imported, campaign: Campaign, found: Preferences, *, as_json: bool) -> None:
    """How many answers were stored, and which policy people prefer so far."""
    if as_json:
        print_json({**asdict(done), "preferences": [each.plain for each in found.found]})
        return
    _counts(done, "answers", "an answer")
    preferred(campaign, found)


def estimated(found: dict[str, Estimates], left_out: list[str]) -> None:
    """Which labels do not count, and the estimates from the others."""
    for why in left_out:
        warn(printable(why))
    if found:
        means = table("mean", "labelled", "judge alone", "people alone", "both (PPI++)")
        for name, each in found.items():
            means.add_row(name, str(each.labelled), *map(_interval, (each.judge, each.human, each.powered)))
        out.print(means)


def print_state(found: dict[str, Estimates], left_out: list[str], preferred: Preferences) -> None:
    """Everything that people said so far, as JSON."""
    print_json({**_plain(found, left_out), "preferences": [each.plain for each in preferred.found]})


def preferred(campaign: Campaign, found: Preferences) -> None:
    """Which policy people prefer, and whether there are enough decided pairs for the promotion."""
    least = campaign.promotion.min_decided_pairs
    for each in found.found:
        line(f"{preference_line(each.said, each.p)}, by {_people(each.annotators)}")
        if each.decided < least:
            line(
                f"  from {least} decided pairs on (promotion.min_decided_pairs) this counts in the promotion: "
                f"rft labels export {campaign.name} --pairs {least}"
            )
    if found.others:
        line(f"{found.others} answers are about replies that the newest eval report does not have; they do not count")


def _people(annotators: int) -> str:
    return "1 person" if annotators == 1 else f"{annotators} people"


def _plain(found: dict[str, Estimates], left_out: list[str]) -> dict[str, Any]:
    return {"left_out": left_out, "estimates": {name: plain(each) for name, each in found.items()}}


def _counts(done: Imported, what: str, one: str) -> None:
    """How many rows were new, changed, unchanged, empty or wrong."""
    for rejected in done.rejected[:SHOWN]:
        note(f"left out: {printable(rejected)}")
    if len(done.rejected) > SHOWN:
        note(f"… and {len(done.rejected) - SHOWN} more")
    who = f" by {', '.join(done.annotators)}" if done.annotators else ""
    counts = f"{done.new} new {what}, {done.changed} changed, {done.unchanged} unchanged{escape(printable(who))}"
    line(f"{counts}; {done.empty_rows} rows without {one}, {len(done.rejected)} left out")


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
