"""What `rft rubric suggest` prints."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from rft_pipeline.campaign import Campaign
from rft_pipeline.cli.console import line, note, out, table, warn
from rft_pipeline.progress import counted
from rft_pipeline.stats import Interval, null_if_nan, plain
from rft_pipeline.suggest.halves import Half
from rft_pipeline.suggest.measuring import Comparison, MeasuredJudge, Tried, by_auc
from rft_pipeline.suggest.suggestion import Suggestion
from rft_pipeline.suggest.writing import suggested_path

SHOWN = 10
"""Candidates in the table."""


def suggested(campaign: Campaign, found: Suggestion) -> None:
    """The candidates, the comparison on the half that decides, and what to do."""
    choosing, held_out = found.halves
    line(f"[bold]{found.criterion.name}[/]: chosen by {choosing.words}; decided by {held_out.words}")
    _candidates(found.tried)
    for why in found.unusable:
        note(f"a written wording is left out: {why}")
    if found.wanted and len(found.unusable) == found.wanted:
        warn(f"none of the {counted(found.wanted, 'wording')} that the model wrote can be used; name another --model")
    if found.comparison is None:
        line("No candidate ranks the replies better than the present wording. Nothing was compared on the other half.")
    else:
        _compared(found.comparison)
        line(_verdict(found))
        if found.earlier:
            times = "once" if found.earlier == 1 else f"{found.earlier} times"
            warn(
                f"suggestions looked at this half {times} before, so a wording may be better on it by chance; label "
                f"replies to other prompts (rft labels export {campaign.name})"
            )
    _file(campaign, found)


def _candidates(tried: tuple[Tried, ...]) -> None:
    """The present judge (bold) among the best candidates, on the half that chooses."""
    shown = table("", numbers=("AUC",))
    shown.add_column("judge")
    shown.add_column("wording", overflow="fold")
    ranked = sorted(tried, key=by_auc, reverse=True)
    for each in ranked:
        if each is not tried[0] and each not in ranked[:SHOWN]:
            continue
        judge, style = each.candidate.judge, "bold" if each is tried[0] else ""
        auc = "–" if np.isnan(each.auc) else f"{each.auc:.2f}"
        words = escape(each.note or judge.wording)
        shown.add_row("now" if each is tried[0] else "", auc, judge.protocol, words, style=style)
    out.print(shown)
    if len(ranked) > SHOWN:
        line(f"[dim]{len(tried) - 1} candidates in all[/]")


def _compared(found: Comparison) -> None:
    sides = {"now": found.before, "suggested": found.after}
    unscored = {name: side.agreement.unscored_share.mean for name, side in sides.items()}
    more = ["unscored"] if any(unscored.values()) else []
    shown = table("held-out half", numbers=("AUC", "κ", "agreement", *more))
    for name, side in sides.items():
        shown.add_row(name, *map(_interval, _numbers(side)), *(f"{unscored[name]:.0%}" for _ in more))
    shown.add_row("difference", _signed(found.auc), _signed(found.cohen_kappa))
    out.print(shown)


def _verdict(found: Suggestion) -> str:
    what = "The new wording" if found.reworded else "The present wording stays the best; with another squash it"
    difference = found.difference
    assert difference is not None
    by = f"{found.measure} {_signed(difference)}"
    if found.file is not None:
        return f"[green]{what} is better on labels that did not choose it:[/] {by}"
    if difference.lower95 > 0:
        return f"[red]{what} is not taken:[/] it leaves too many replies unscored"
    unsure = f"{what} is not shown to be better on labels that did not choose it:"
    return f"[red]{unsure}[/] {by}; the lower bound must be above 0"


def _file(campaign: Campaign, found: Suggestion) -> None:
    path = suggested_path(found.rubric)
    if found.file is None:
        earlier = f"; {_short(path)} is from an earlier suggestion and stays as it is" if path.exists() else ""
        line(f"No file was written{earlier}.")
        return
    old, new = _short(found.rubric), _short(found.file)
    line(f"Written: {escape(new)}, which differs from {escape(old)} in {found.criterion.name} alone. Next:")
    line(escape(f"  rft diff {campaign.name} --rubric {old} {new}"))
    line(escape(f"  rft plan {campaign.name} --rubric {new}"))
    line(escape(f"  mv {new} {old} && rft audit {campaign.name}"))


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _numbers(side: MeasuredJudge) -> tuple[Interval, ...]:
    return side.agreement.auc, side.agreement.cohen_kappa, side.agrees


def _interval(found: Interval) -> str:
    if np.isnan(found.mean):
        return "–"
    bounds = "" if np.isnan(found.lower95) else f" ({found.lower95:.2f}–{found.upper95:.2f})"
    return f"{found.mean:.2f}{bounds}"


def _signed(found: Interval) -> str:
    if np.isnan(found.mean):
        return "–"
    bounds = "" if np.isnan(found.lower95) else f" ({found.lower95:+.2f}, {found.upper95:+.2f})"
    return f"{found.mean:+.2f}{bounds}"


def as_plain(campaign: Campaign, found: Suggestion) -> dict[str, Any]:
    """The same as JSON holds it."""
    compared = found.comparison
    return {
        "campaign": campaign.name,
        "criterion": found.criterion.name,
        "halves": {"choosing": _half(found.halves.choosing), "held_out": _half(found.halves.held_out)},
        "candidates": [
            {"judge": dict(each.candidate.raw), "auc": null_if_nan(each.auc), "note": each.note or None}
            for each in found.tried[1:]
        ],
        "unusable": list(found.unusable),
        "present": {"judge": dict(found.tried[0].candidate.raw), "auc": null_if_nan(found.tried[0].auc)},
        "suggested": None if compared is None else dict(found.chosen.raw),
        "held_out": None
        if compared is None
        else {
            "before": _side(compared.before),
            "after": _side(compared.after),
            "difference": {"auc": plain(compared.auc), "cohen_kappa": plain(compared.cohen_kappa)},
            "decides": "auc" if found.reworded else "cohen_kappa",
            "earlier_looks": found.earlier,
        },
        "better": found.file is not None,
        "file": None if found.file is None else str(found.file),
    }


def _half(half: Half) -> dict[str, int]:
    return {"labels": half.rows.height, "good": half.good, "bad": half.bad, "prompts": len(half.prompts)}


def _side(side: MeasuredJudge) -> dict[str, Any]:
    auc, kappa, agrees = _numbers(side)
    found = {"auc": auc, "cohen_kappa": kappa, "agreement": agrees, "unscored": side.agreement.unscored_share}
    return {name: plain(each) for name, each in found.items()}
