"""Champions: which checkpoint of a campaign is in use, which was before, and why.

`<home>/champions/<campaign>.json` holds every change, oldest first; the last line of it is in force: a champion, or
none after a person went back from the first one. It is replaced as a whole, so a reader finds the old or the new.
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
    """One change: from then on this checkpoint was the champion, by a promotion or by a rollback to it."""

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


@dataclass(frozen=True)
class NoChampion:
    """One change: from then on there was no champion, and base was in force again."""

    why: str
    """What the person said who went back from the first champion."""
    when: str = ""
    record: None = None


History = tuple[Champion | NoChampion, ...]


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
            f"{path}: does not tell a champion: {error}; mend it, or put it back from a backup. Without it, the "
            f"history and every rollback in it are lost, and the next `rft run {path.stem}` promotes what it decides"
        ) from error


def champion(root: Path, campaign: str) -> Champion | None:
    """The one in force."""
    return in_force(history(root, campaign))


def in_force(known: History) -> Champion | None:
    return _at(known, len(known) - 1 if known else None)


def campaign_of(name: str) -> str:
    """Whose champion a model's name means."""
    return name.removeprefix(PREFIX).partition("@")[0]


def named(root: Path, name: str) -> Champion | None:
    """Whom a model's name means, if there is one."""
    record = name.partition("@")[2]
    if not record:
        return champion(root, campaign_of(name))
    known = history(root, campaign_of(name))
    return next((each for each in reversed(known) if isinstance(each, Champion) and each.record == record), None)


def before(known: History) -> Champion | None:
    """The one before the one in force."""
    now = in_force(known)
    return None if now is None else _at(known, now.previous)


def chain(known: History) -> list[Champion]:
    """The one in force, the one before it, the one before that, and so on: whom one rollback after the other finds."""
    found, each = [], in_force(known)
    while each is not None:
        found.append(each)
        each = _at(known, each.previous)
    return found


def promotion_of(known: History, champion: Champion) -> Champion:
    """How a champion came to be one: its own line, or for one that a rollback brought back that of its promotion."""
    same = (each for each in reversed(known) if isinstance(each, Champion) and each.record == champion.record)
    return champion if champion.evidence else next((each for each in same if each.evidence), champion)


def against(known: History, evidence: str) -> Champion | None:
    """Whom rounds with this eval report have to beat: the champion in force, or where it was promoted on that report
    itself, the one it took over from, before anybody was promoted on it."""
    found = in_force(known)
    while found is not None and promotion_of(known, found).evidence == evidence:
        found = _at(known, found.previous)
    return found


def rolled_back(known: History, content_hash: str) -> str | None:
    """Why a person went back from these weights; None where nobody did, or somebody promoted them since."""
    for place in range(len(known) - 1, -1, -1):
        each, after = known[place], known[place + 1] if place + 1 < len(known) else None
        if isinstance(each, Champion) and each.content_hash == content_hash:
            back = isinstance(after, NoChampion) or (after is not None and not after.evidence)
            return after.why if after is not None and back else None
    return None


def was_promoted(known: History, new: Champion) -> bool:
    """Whether the same weights were promoted on the same report before."""
    there = (each for each in known if isinstance(each, Champion))
    return any((each.evidence, each.content_hash) == (new.evidence, new.content_hash) for each in there)


def promoted(known: History, new: Champion) -> History:
    """With a new champion. The same weights again change nothing but who promoted them and why: they keep the report
    they were promoted on, and the one before."""
    now = in_force(known)
    if now is not None and now.content_hash == new.content_hash:
        first = promotion_of(known, now)
        new = replace(new, evidence=first.evidence, report=first.report, previous=now.previous)
    else:
        new = replace(new, previous=None if now is None else len(known) - 1)
    return (*known, replace(new, when=_now()))


def back(known: History, why: str) -> History:
    """With the champion before the one in force, or base where that was the first. Raises `StoreError` where there is
    none in force to go back from."""
    if in_force(known) is None:
        raise StoreError("there is no champion to go back from")
    earlier = before(known)
    if earlier is None:
        return (*known, NoChampion(why, when=_now()))
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


def _at(known: History, place: int | None) -> Champion | None:
    found = None if place is None else known[place]
    return found if isinstance(found, Champion) else None


def _entry(stored: dict[str, Any]) -> Champion | NoChampion:
    """A line of the file; earlier ones also tell a version in MLflow's registry."""
    if stored["record"] is None:
        return NoChampion(**stored)
    return Champion(**{name: value for name, value in stored.items() if name != "version"})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
