"""Champions: the checkpoint in use of each campaign, with its history.

`<home>/champions/<campaign>.json` contains every change, oldest first. The last entry is current: a champion, or none
after the first champion was rolled back. The file is replaced as a whole, so readers see the old or the new version.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rft_pipeline.errors import StoreError
from rft_pipeline.store.lock import alone
from rft_pipeline.store.shared import write_through

PREFIX = "champion:"
"""Prefix of the names of champions as models: `champion:CAMPAIGN` is the current one, `champion:CAMPAIGN@RECORD` a
certain one."""
FOLDER = "champions"


@dataclass(frozen=True)
class Champion:
    """An entry of the history: this checkpoint became the champion, by promotion or rollback."""

    record: str
    """Address of the checkpoint's record."""
    content_hash: str
    """Of its weights."""
    round: int
    evidence: str
    """Content hash of the eval report of its promotion; empty after a rollback."""
    report: str
    """Address of that eval report."""
    why: str
    """The decision, or the reason of the person who forced it or rolled back."""
    forced: bool = False
    cycle: int | None = None
    """The retraining cycle of its promotion."""
    previous: int | None = None
    """Index in the history of the champion that it replaced."""
    when: str = ""


@dataclass(frozen=True)
class NoChampion:
    """An entry of the history: the first champion was rolled back, so base is used again."""

    why: str
    """The reason of the person who rolled back."""
    when: str = ""
    record: None = None


History = tuple[Champion | NoChampion, ...]


def path_of(root: Path, campaign: str) -> Path:
    """The file with the champions of a campaign; `root` is the home."""
    return root / FOLDER / f"{campaign}.json"


def history(root: Path, campaign: str) -> History:
    """All entries, oldest first; empty before the first promotion. Raises `StoreError` for an unreadable file."""
    return read(path_of(root, campaign))


def read(path: Path) -> History:
    """The history in this file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    try:
        return tuple(
            NoChampion(**each) if each["record"] is None else Champion(**each) for each in json.loads(text)["history"]
        )
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path}: cannot be read: {error}; correct it, or restore it from a backup. Without it, the history "
            f"and all rollbacks are lost, and the next `rft run {path.stem}` may promote any round"
        ) from error


def champion(root: Path, campaign: str) -> Champion | None:
    """The current champion."""
    return current(history(root, campaign))


def current(known: History) -> Champion | None:
    return _at(known, len(known) - 1 if known else None)


def campaign_of(name: str) -> str:
    """The campaign in the name of a champion."""
    return name.removeprefix(PREFIX).partition("@")[0]


def named(root: Path, name: str) -> Champion | None:
    """The champion with this model name, if there is one."""
    record = name.partition("@")[2]
    if not record:
        return champion(root, campaign_of(name))
    known = history(root, campaign_of(name))
    return next((each for each in reversed(known) if isinstance(each, Champion) and each.record == record), None)


def previous(known: History) -> Champion | None:
    """The champion before the current one."""
    now = current(known)
    return None if now is None else _at(known, now.previous)


def rollback_chain(known: History) -> list[Champion]:
    """The current champion and its predecessors, in the order of successive rollbacks."""
    found, each = [], current(known)
    while each is not None:
        found.append(each)
        each = _at(known, each.previous)
    return found


def promotion_of(known: History, champion: Champion) -> Champion:
    """The entry of a champion's promotion: its own, or an earlier one after a rollback."""
    same = (each for each in reversed(known) if isinstance(each, Champion) and each.record == champion.record)
    return champion if champion.evidence else next((each for each in same if each.evidence), champion)


def to_beat(known: History, evidence: str) -> Champion | None:
    """The champion that rounds with this eval report must beat: the current one, or the last one that was not promoted
    on this report."""
    found = current(known)
    while found is not None and promotion_of(known, found).evidence == evidence:
        found = _at(known, found.previous)
    return found


def rollback_reason(known: History, content_hash: str) -> str | None:
    """Why these weights were rolled back; None if they were not, or were promoted again later."""
    for place in range(len(known) - 1, -1, -1):
        each, later = known[place], known[place + 1] if place + 1 < len(known) else None
        if isinstance(each, Champion) and each.content_hash == content_hash:
            is_rollback = isinstance(later, NoChampion) or (later is not None and not later.evidence)
            return later.why if later is not None and is_rollback else None
    return None


def was_promoted(known: History, new: Champion) -> bool:
    """Whether the same weights were already promoted on the same report."""
    earlier = (each for each in known if isinstance(each, Champion))
    return any((each.evidence, each.content_hash) == (new.evidence, new.content_hash) for each in earlier)


def promote(known: History, new: Champion) -> History:
    """The history with a new champion. If it has the weights of the current one, the entry keeps the report of the
    first promotion and the previous champion."""
    now = current(known)
    if now is not None and now.content_hash == new.content_hash:
        first = promotion_of(known, now)
        new = replace(new, evidence=first.evidence, report=first.report, previous=now.previous)
    else:
        new = replace(new, previous=None if now is None else len(known) - 1)
    return (*known, replace(new, when=_now()))


def rollback(known: History, why: str) -> History:
    """The history after a rollback to the previous champion, or to base. Raises `StoreError` without a champion."""
    if current(known) is None:
        raise StoreError("there is no champion to roll back")
    earlier = previous(known)
    if earlier is None:
        return (*known, NoChampion(why, when=_now()))
    return (*known, replace(earlier, evidence="", why=why, when=_now()))


def write(root: Path, campaign: str, changed: History) -> None:
    """Replace the file; call while `locked`."""
    plain = {"champion": changed[-1].record, "history": [asdict(each) for each in changed]}
    write_through(path_of(root, campaign), json.dumps(plain, indent=2) + "\n")


@contextmanager
def locked(root: Path, campaign: str) -> Iterator[History]:
    """Lock a campaign's champions for a change; yields the history."""
    path = path_of(root, campaign)
    with alone(path.with_name(f".{campaign}")):
        yield read(path)


def _at(known: History, place: int | None) -> Champion | None:
    found = None if place is None else known[place]
    return found if isinstance(found, Champion) else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
