"""Finds the record that a user names."""

import re

from rft_pipeline.errors import StoreError
from rft_pipeline.store import Record, RecordStore
from rft_pipeline.store.records import RECORD

PREVIOUS = "@previous"
SHORTEST = 6
"""Fewest hex digits of a fingerprint that can name a record."""

_DIGITS = re.compile(rf"[0-9a-f]{{{SHORTEST},}}")
_HOW = (
    "name a record by its key (support_reply/round_1/judge_scores: the current one; with @previous: the one made "
    f"before it), its address (key/fingerprint), or the first {SHORTEST} or more digits of its fingerprint"
)


def named(records: RecordStore, name: str) -> Record:
    """The record with a name: a key, a key with `@previous`, an address, or the first digits of a fingerprint.

    Raises `StoreError` if there is none or more than one, listing candidates.
    """
    if name.endswith(PREVIOUS):
        return _previous(records, named(records, name.removesuffix(PREVIOUS)))
    within = name.removeprefix(str(records.root)).strip("/")
    if ".." in within.split("/"):
        raise StoreError(f"no record {name}; {_HOW}")
    if (current := records.current(within)) is not None:
        return current
    key, _, digits = within.rpartition("/")
    found = _beginning_with(records, key, digits) if _DIGITS.fullmatch(digits) else []
    if len(found) > 1:
        raise StoreError(f"{name}: {len(found)} records match: {_addresses(found)}; give more digits")
    if not found:
        close = within if (records.root / within).is_dir() else key
        known = records.all(close) if close else []
        raise StoreError(f"no record {name}{f'; there are: {_addresses(known)}' if known else ''}; {_HOW}")
    return found[0]


def _previous(records: RecordStore, current: Record) -> Record:
    made = records.all(current.key)
    place = [record.fingerprint for record in made].index(current.fingerprint)
    if place == 0:
        raise StoreError(f"{current.key}{PREVIOUS}: no record was made before {current.address}")
    return made[place - 1]


def _beginning_with(records: RecordStore, key: str, digits: str) -> list[Record]:
    """Keys have two or three parts; the search does not look deeper, into row tables and checkpoints."""
    patterns = [f"{key}/"] if key else ["*/*/", "*/*/*/"]
    paths = [path for pattern in patterns for path in records.root.glob(f"{pattern}{digits}*/{RECORD}")]
    addresses = sorted(path.parent.relative_to(records.root).as_posix() for path in paths)
    return [record for address in addresses if (record := records.at(address)) is not None]


def _addresses(found: list[Record]) -> str:
    return ", ".join(record.address for record in found)
