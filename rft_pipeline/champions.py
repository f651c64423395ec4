"""Champions: which checkpoint of a campaign is in use, which was before, and why.

`<home>/champions/<campaign>.json` holds every change, oldest first; the last line of it is in force. It is replaced as
a whole, so a reader finds the old or the new.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from rft_pipeline.errors import StoreError

PREFIX = "champion:"
"""Begins the name of a model that is a campaign's champion: `champion:CAMPAIGN` the one in force, with `@RECORD` behind
it that one of its champions, whoever came later."""
FOLDER = "champions"


@dataclass(frozen=True)
class Champion:
    """One change: from then on this checkpoint was the champion."""

    record: str
    """Address of the checkpoint's record."""
    content_hash: str
    """Of its weights."""
    round: int
    evidence: str
    """Content hash of the eval report it was promoted on; empty where a rollback brought it back."""
    report: str
    """Address of that eval report."""
    why: str
    """What was decided, or what the person who forced it or rolled back to it said."""
    forced: bool = False
    cycle: int | None = None
    """Of retraining, in which it was promoted."""
    previous: int | None = None
    """Place in the history of the champion it took over from."""
    when: str = ""


History = tuple[Champion, ...]


def path_of(root: Path, campaign: str) -> Path:
    """Where the champions of a campaign are written down; `root` is the home."""
    return root / FOLDER / f"{campaign}.json"


def history(root: Path, campaign: str) -> History:
    """Every change, oldest first; none before the first promotion. Raises `StoreError` for a file it cannot read."""
    return read(path_of(root, campaign))


def read(path: Path) -> History:
    """The same from the file itself."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    try:
        return tuple(_entry(each) for each in json.loads(text)["history"])
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path}: does not tell a champion: {error}; mend it, or remove it and promote a round again"
        ) from error


def champion(root: Path, campaign: str) -> Champion | None:
    """The one in force."""
    return in_force(history(root, campaign))


def in_force(known: History) -> Champion | None:
    return known[-1] if known else None


def campaign_of(name: str) -> str:
    """Whose champion a model's name means."""
    return name.removeprefix(PREFIX).partition("@")[0]


def named(root: Path, name: str) -> Champion | None:
    """Whom a model's name means, if there is one."""
    record = name.partition("@")[2]
    if not record:
        return champion(root, campaign_of(name))
    known = history(root, campaign_of(name))
    return next((each for each in reversed(known) if each.record == record), None)


def before(known: History) -> Champion | None:
    """The one before the one in force."""
    place = known[-1].previous if known else None
    return None if place is None else known[place]


def promotion_of(known: History, champion: Champion) -> Champion:
    """How a champion came to be one: its own line, or for one that a rollback brought back that of its promotion."""
    if champion.evidence:
        return champion
    return next((each for each in reversed(known) if each.record == champion.record and each.evidence), champion)


def against(known: History, evidence: str) -> Champion | None:
    """Whom rounds with this eval report have to beat: the champion in force, or where it was promoted on that report
    itself, the one it took over from, before anybody was promoted on it."""
    found = in_force(known)
    while found is not None and promotion_of(known, found).evidence == evidence:
        found = None if found.previous is None else known[found.previous]
    return found


def rolled_back(known: History, content_hash: str) -> Champion | None:
    """The rollback by which a person went back from these weights, unless somebody promoted them since."""
    for place in range(len(known) - 2, -1, -1):
        if known[place + 1].content_hash == content_hash:
            return None
        if known[place].content_hash == content_hash:
            return None if known[place + 1].evidence else known[place + 1]
    return None


def promoted(known: History, new: Champion) -> History:
    """With a new champion. The same weights again change nothing but who promoted them and why: they keep the report
    they were promoted on, and the one before."""
    now = in_force(known)
    if now is not None and now.content_hash == new.content_hash:
        first = promotion_of(known, now)
        new = replace(new, evidence=first.evidence, report=first.report, previous=now.previous)
    else:
        new = replace(new, previous=len(known) - 1 if known else None)
    return (*known, replace(new, when=_now()))


def back(known: History, why: str) -> History:
    """With the champion before the one in force. Raises `StoreError` when there is none."""
    earlier = before(known)
    if earlier is None:
        raise StoreError("there is no champion before the one in force to go back to")
    return (*known, replace(earlier, evidence="", why=why, when=_now()))


def write(root: Path, campaign: str, changed: History) -> None:
    """Replace the file. Call while `changing`."""
    path = path_of(root, campaign)
    beside = path.with_name(f".{campaign}-{os.getpid()}")
    plain = {"champion": changed[-1].record, "history": [asdict(each) for each in changed]}
    beside.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    beside.replace(path)


@contextmanager
def changing(root: Path, campaign: str) -> Iterator[History]:
    """Keep everybody else from changing a campaign's champion; yields the history as it is."""
    path = path_of(root, campaign)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{campaign}.lock")):
        yield read(path)


def _entry(stored: dict[str, Any]) -> Champion:
    """A line of the file; earlier ones also tell a version in MLflow's registry."""
    return Champion(**{name: value for name, value in stored.items() if name != "version"})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
