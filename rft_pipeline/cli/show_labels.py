"""What `rft labels` prints."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape

from rft_pipeline.campaign import Campaign
from rft_pipeline.cli.console import line, note, out, print_json, table, warn
from rft_pipeline.cli.words import preference_line, printable
from rft_pipeline.labels.exports import Export
from rft_pipeline.labels.feedback import Stored
from rft_pipeline.labels.importing import Imported
from rft_pipeline.labels.pairs import PairExport
from rft_pipeline.labels.preferences import Preferences
from rft_pipeline.progress import counted
from rft_pipeline.prompts.rows import listed
from rft_pipeline.stats import Interval, plain
from rft_pipeline.stats.ppi import Estimates

ExportPlace = Path | dict[str, str]
"""Where people label: in a file, or on the page at each annotator's address."""


def exported(export: Export, place: ExportPlace, *, as_json: bool) -> None:
    """What was drawn, where it is labelled, and what to do there."""
    if as_json:
        print_json({**asdict(export), **_plain_place(place)})
        return
    drawn = f"{export.drawn} of {export.population} {export.what}, {counted(export.prompts, 'prompt')}"
    questions = [f"  {name} {escape(printable(asked.hint))}" for name, asked in export.criteria.items()]
    _where(drawn, questions, "Fill in the criteria", export.campaign, place)


def exported_pairs(export: PairExport, place: ExportPlace, *, as_json: bool) -> None:
    """What was drawn, where it is labelled, and what to do there."""
    if as_json:
        print_json({**asdict(export), **_plain_place(place)})
        return
    drawn = f"{export.drawn} pairs of replies, {export.of} and {export.against} in hidden order, of "
    drawn += f"{export.prompts} held-out prompts"
    if not export.held_out:
        drawn = f"{export.drawn} pairs of rollouts of {export.of}, of {export.prompts} train prompts"
    same = [f"{counted(export.identical, 'prompt')} left out: both replies are the same"] if export.identical else []
    _where(drawn, same, "Write left, right or tie under preferred,", export.campaign, place)


def _plain_place(place: ExportPlace) -> dict[str, Any]:
    return {"pages": place} if isinstance(place, dict) else {"file": str(place)}


def _where(drawn: str, more: list[str], fill_in: str, campaign: str, place: ExportPlace) -> None:
    """What was drawn, the file or the pages, and what to do next."""
    if isinstance(place, Path):
        line(f"{drawn}: [bold]{escape(str(place))}[/]")
        then = f"{fill_in} and your name as annotator; leave a cell empty if you cannot tell. Then: "
        then += f"rft labels import {campaign} {place}"
    else:
        line(drawn)
        for annotator, url in place.items():
            line(f"  {escape(printable(annotator))}: {escape(url)}")
        then = "MLflow shows the pages while `rft ui` runs. Leave open what you cannot tell. Then: "
        then += f"rft labels import {campaign} --from mlflow"
    for each in [*more, then]:
        line(each)


ENOUGH_LABELS = 20
"""Labelled rollouts from which means by people are shown; with fewer, their intervals are no better than a guess."""


def plain_imported(done: Imported, found: dict[str, Estimates], left_out: list[str]) -> dict[str, Any]:
    """What `imported` says, for JSON."""
    return {**asdict(done), **_plain(found, left_out)}


def plain_imported_pairs(done: Imported, found: Preferences) -> dict[str, Any]:
    """What `imported_pairs` says, for JSON."""
    return {**asdict(done), "preferences": [each.plain for each in found.found]}


def plain_imported_feedback(found: Stored) -> dict[str, Any]:
    """What `imported_feedback` says, for JSON."""
    return {**found.counts, "rejected": list(found.rejected)}


def imported_feedback(campaign: Campaign, found: Stored) -> None:
    """How much feedback was imported, which rows were left out as wrong, and what to do with it."""
    _left_out(found.rejected)
    feedback(found)
    line(f"Compare the judges with it: rft audit {campaign.name}")
    line(f"Have people look at some: rft labels export {campaign.name} --from-feedback 40")


def feedback(found: Stored) -> None:
    """How much feedback the logs have, in one line."""
    counts = found.counts
    left_out = [
        f"{counts[name]} {words}"
        for name, words in (("opted_out", "opted out"), ("without_reply", "with feedback and no reply"))
        if counts[name]
    ]
    left_out += [f"{count} × {kind} redacted" for kind, count in counts["redacted"].items()]
    line(
        f"{counts['replies']} replies with feedback in {counted(counts['rows'], 'logged row')}, "
        f"{counts['liked']} liked and {counts['disliked']} disliked; "
        f"{counts['kept']} of {counts['different']} different ones kept" + "".join(f"; {each}" for each in left_out)
    )


def imported(done: Imported, found: dict[str, Estimates], left_out: list[str]) -> None:
    """How many labels were stored, which labels do not count, and the estimates from the others."""
    _counts(done, "labels", "a label")
    if done.outdated:
        line(f"{done.outdated} answer an older question; the same people's answers to the current question are kept")
    estimated(found, left_out)


def imported_pairs(done: Imported, campaign: Campaign, found: Preferences) -> None:
    """How many answers were stored, and which policy people prefer so far."""
    _counts(done, "answers", "an answer")
    preferred(campaign, found)


def estimated(found: dict[str, Estimates], left_out: list[str]) -> None:
    """Which labels do not count, and the estimates from the others."""
    for why in left_out:
        warn(printable(why))
    if found:
        means = table("mean", "labelled", "judge alone", "people alone", "both (PPI++)")
        for name, each in found.items():
            few = each.labelled < ENOUGH_LABELS
            people = ("too few labels",) * 2 if few else map(_interval, (each.human, each.powered))
            means.add_row(name, str(each.labelled), _interval(each.judge), *people)
        out.print(means)
        if any(each.labelled < ENOUGH_LABELS for each in found.values()):
            line(f"people's means need {ENOUGH_LABELS} labelled rollouts; the labels count in an audit all the same")


def print_state(found: dict[str, Estimates], left_out: list[str], preferred: Preferences, users: Stored | None) -> None:
    """Everything that people said so far, as JSON."""
    said = {"preferences": [each.plain for each in preferred.found], "feedback": users and users.counts}
    print_json({**_plain(found, left_out), **said})


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
    _left_out(done.rejected)
    who = f" by {', '.join(done.annotators)}" if done.annotators else ""
    counts = f"{done.new} new {what}, {done.changed} changed, {done.unchanged} unchanged{escape(printable(who))}"
    line(f"{counts}; {counted(done.empty_rows, 'row')} without {one}, {len(done.rejected)} left out")


def _left_out(rejected: Sequence[str]) -> None:
    """Place and reason of each row that was left out."""
    for each in listed(rejected):
        note(printable(each) if each.startswith("…") else f"left out: {printable(each)}")


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
