"""The folder of reports: the newest pages of each campaign, which link to one another, and an index of campaigns."""

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from rft_pipeline.files import replace_text
from rft_pipeline.promotion.decide import NOT_WATCHED
from rft_pipeline.report.templates import rendered
from rft_pipeline.report.timeline import last_alarm
from rft_pipeline.store import Home
from rft_pipeline.store.champions import Champion, History

REPORT, PROMOTION, AUDIT = ".html", ".promotion.html", ".audit.html"
PAGES = {REPORT: "Report", ".rounds.html": "Rounds", PROMOTION: "Promotion", AUDIT: "Judge audit"}
"""Suffix of a page's file → its title in links."""
NUMBERS = ".json"
"""Suffix of the numbers of a campaign's newest eval report."""
INDEX = "index.html"
SHOWN = 20
"""Entries of a history of champions on a page."""
_DECISION = re.compile(r"<!-- decision -->.*?<!-- /decision -->", re.DOTALL)
_CHAMPIONS = re.compile(r"<!-- champions -->.*?<!-- /champions -->", re.DOTALL)
_LINKS = re.compile(r'<nav class="pages">.*?</nav>', re.DOTALL)


def page(home: Home, campaign: str, suffix: str) -> Path:
    """The newest page of a campaign; its path stays the same for all rounds."""
    return home.reports / f"{campaign}{suffix}"


def publish(folder: Path, campaign: str, texts: Mapping[str, str]) -> None:
    """Write files of a campaign, by suffix, and link all its pages to one another. The champions that a page shows stay
    until `write_champions`."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {suffix: _read(folder / f"{campaign}{suffix}") for suffix in {**PAGES, **texts}}
    found = {suffix: text for suffix, text in {**stored, **texts}.items() if text is not None}
    titles = {INDEX: "All campaigns", **{f"{campaign}{suffix}": PAGES[suffix] for suffix in PAGES if suffix in found}}
    for suffix, text in found.items():
        name = f"{campaign}{suffix}"
        linked = _LINKS.sub(partial(_links, titles, name), text, count=1) if suffix in PAGES else text
        if shown := _CHAMPIONS.search(stored[suffix] or ""):
            linked = _with_champions(linked, shown[0])
        _write(folder / name, linked)


def _write(path: Path, text: str) -> None:
    """Write a file unless it is there."""
    if _read(path) != text:
        replace_text(path, text)


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def write_champions(folder: Path, campaign: str, history: History) -> None:
    """Show on a campaign's promotion page, if there is one, who became champion, and why."""
    path = folder / f"{campaign}{PROMOTION}"
    if (text := _read(path)) is not None:
        shown = rendered("champions.html.jinja", history=history[: -SHOWN - 1 : -1]) if history else ""
        _write(path, _with_champions(text, f"<!-- champions -->{shown}<!-- /champions -->"))


def write_decision(
    folder: Path, campaign: str, promoted: bool = False, said: str = "", stays: str | None = None
) -> None:
    """Show at the head of a campaign's report what the promotion decided on it, if it did: whether a round was
    promoted, why, and why another champion stays."""
    path = folder / f"{campaign}{REPORT}"
    if (text := _read(path)) is not None:
        link = quote(f"{campaign}{PROMOTION}")
        shown = rendered("decision.html.jinja", promoted=promoted, said=said, stays=stays, page=link) if said else ""
        _write(path, _DECISION.sub(lambda _: f"<!-- decision -->{shown}<!-- /decision -->", text, count=1))


def numbers_of(folder: Path, campaign: str) -> str | None:
    """The text of the numbers of the report that is shown; None without a report."""
    return _read(folder / f"{campaign}{NUMBERS}")


def _with_champions(page: str, shown: str) -> str:
    return _CHAMPIONS.sub(lambda _: shown, page, count=1)


def published_campaigns(folder: Path) -> list[str]:
    """The campaigns with an eval report in the folder."""
    return sorted(path.name.removesuffix(NUMBERS) for path in folder.glob(f"[!.]*{NUMBERS}"))


def write_index(folder: Path, champions: Mapping[str, Champion | None]) -> None:
    """Write the index of these campaigns, with their champions."""
    rows = [_row(folder, campaign, champion) for campaign, champion in champions.items()]
    _write(folder / INDEX, rendered("index.html.jinja", rows=rows))


def _row(folder: Path, campaign: str, champion: Champion | None) -> dict[str, Any]:
    report = json.loads((folder / f"{campaign}{NUMBERS}").read_text(encoding="utf-8"))
    alarm = last_alarm(report["alarms"]["verdicts"]) if "alarms" in report else None
    return {
        "campaign": campaign,
        "baseline": report["rounds"][0]["name"],
        "newest": report["rounds"][-1],
        "delta": report["delta"],
        "champion": champion,
        "level": alarm.level if alarm else "ok" if "alarms" in report else NOT_WATCHED,
        "causes": alarm.causes if alarm else (),
        "pages": {quote(f"{campaign}{suffix}"): PAGES[suffix] for suffix in _pages(folder, campaign)},
    }


def _pages(folder: Path, campaign: str) -> list[str]:
    """The suffixes of the pages that a campaign has."""
    return [suffix for suffix in PAGES if (folder / f"{campaign}{suffix}").is_file()]


def _links(titles: Mapping[str, str], here: str, _: object = None) -> str:
    """Relative links to files of the folder, by their titles."""
    link = Markup('<a href="{}"{}>{}</a>')
    current = Markup(' aria-current="page"')
    found = (link.format(quote(file), current if file == here else "", title) for file, title in titles.items())
    return f'<nav class="pages">{"".join(found)}</nav>'
