"""All records of a store, and the links between them in both directions."""

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.stages.base import TRAINED
from rft_pipeline.store import Home, Record, RecordStore

READ = "read"
EQUAL = "equal content"

POLICIES = ("policy", *TRAINED)
"""Stages whose content is weights: each can be the sampling policy, the judge, or the start of a campaign."""


@dataclass(frozen=True)
class Source:
    """A record that another was made from."""

    role: str
    address: str | None
    """The record that was read; null if only its content is known, as for a model given by its folder."""
    exists: bool
    """Whether it is still in the store."""
    equal: tuple[str, ...]
    """Records of equal content: each would have given the same result."""


@dataclass(frozen=True)
class Use:
    """A record that was made from another."""

    address: str
    role: str
    by: str
    """`read`, or `equal content` when a record of equal content was read."""


class Index:
    """All complete records of a home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        store = RecordStore(home.store)
        campaigns = [each.name for each in home.store.glob("*") if each.is_dir() and each.name != "tables"]
        self.records = [record for campaign in sorted(campaigns) for record in store.all(campaign)]
        self.by_address = {record.address: record for record in self.records}
        self.keys = list(dict.fromkeys(record.key for record in self.records))
        current = [store.current(key) for key in self.keys]
        self.current_addresses = {record.address for record in current if record is not None}
        self._contents: dict[str, list[Record]] = defaultdict(list)
        self._reads: dict[str, list[tuple[Record, str]]] = defaultdict(list)
        self._takes: dict[str, list[tuple[Record, str]]] = defaultdict(list)
        for record in self.records:
            for content in contents(record):
                self._contents[content].append(record)
            for role, address in record.upstream.items():
                self._reads[address].append((record, role))
            for role, content in record.payload["inputs"].items():
                self._takes[content].append((record, role))

    def of_stage(self, stage: str) -> list[Record]:
        """The records of one stage, over all campaigns and rounds."""
        return [record for record in self.records if record.payload["stage"] == stage]

    @cached_property
    def criteria(self) -> dict[str, list[tuple[Record, str]]]:
        """Criterion fingerprint → the records that used it, with its name there, oldest first."""
        found: dict[str, list[tuple[Record, str]]] = {}
        fingerprints: dict[str, str] = {}
        users = [*self.of_stage("judge_scores"), *self.of_stage("eval_reports")]
        for record in sorted(users, key=lambda each: (each.created, each.address)):
            for name, payload in record.payload["settings"]["criteria"].items():
                text = json.dumps(payload, sort_keys=True)
                if text not in fingerprints:
                    fingerprints[text] = fingerprint(payload)
                found.setdefault(fingerprints[text], []).append((record, name))
        return found

    @cached_property
    def criterion_names(self) -> set[str]:
        """`<campaign>:<name>` of every criterion."""
        return {f"{campaign_of(record)}:{name}" for uses in self.criteria.values() for record, name in uses}

    def current(self, key: str) -> Record | None:
        """The current record of a key, or else the newest."""
        here = [record for record in self.records if record.key == key]
        return next((record for record in here if record.address in self.current_addresses), here[-1] if here else None)

    def weights(self, content: str) -> list[Record]:
        """The policies and checkpoints with these weights, current ones first."""
        return [record for record in self._sorted(self._contents[content]) if record.payload["stage"] in POLICIES]

    def equal(self, record: Record) -> list[Record]:
        """Other records of the same stage with equal content, current ones first."""
        twins = [other for other in self._contents[record.content_hash] if _stage(other) == _stage(record)]
        return [other for other in self._sorted(twins) if other is not record]

    def made_from(self, record: Record) -> list[Source]:
        """What a record was made from, by role."""
        inputs = record.payload["inputs"]
        by_content = [role for role in inputs if role != "judge" and not role.startswith("judge.")]
        roles: dict[str, str | None] = {**record.upstream} or dict.fromkeys(by_content)
        found = []
        for role, address in roles.items():
            candidates = [
                other
                for other in self._sorted(self._contents.get(inputs.get(role, ""), []), record)
                if other.address != address and _feeds(other, record)
            ]
            if address is not None or candidates:
                equal = tuple(other.address for other in candidates)
                found.append(Source(role, address, address in self.by_address, equal))
        return found

    def parent(self, record: Record, role: str) -> Record | None:
        """The record with a role, or one of equal content if it is gone."""
        for source in self.made_from(record):
            if source.role == role:
                address = source.address if source.exists else next(iter(source.equal), None)
                return None if address is None else self.by_address[address]
        return None

    def made_into_stage(self, record: Record, stage: str) -> list[tuple[Record, str]]:
        """The records of one stage made from a record, and the kind of link."""
        uses = {use.address: use.by for use in self.made_into(record)}
        made = [(self.by_address[address], by) for address, by in uses.items()]
        return [(each, by) for each, by in made if _stage(each) == stage]

    def made_into(self, record: Record) -> list[Use]:
        """What was made from a record, or from one of equal content."""
        found = {(reader.address, role): READ for reader, role in self._reads.get(record.address, [])}
        for content in contents(record):
            for reader, role in self._takes.get(content, []):
                if (role in reader.upstream or (not reader.upstream and role != "judge")) and _feeds(record, reader):
                    found.setdefault((reader.address, role), EQUAL)
        return [Use(address, role, by) for (address, role), by in found.items()]

    def ancestors(self, record: Record) -> list[Record]:
        """All that a record was made from, nearest first."""
        return _walk(record, lambda each: (self.parent(each, source.role) for source in self.made_from(each)))

    def descendants(self, record: Record) -> list[Record]:
        """All that was made from a record, nearest first."""
        return _walk(record, lambda each: (self.by_address[use.address] for use in self.made_into(each)))

    def _sorted(self, records: Iterable[Record], near: Record | None = None) -> list[Record]:
        """The same campaign first, then current records, then the newest."""
        campaign = None if near is None else campaign_of(near)
        newest_first = sorted(records, key=lambda each: each.created, reverse=True)
        return sorted(
            newest_first, key=lambda each: (campaign_of(each) != campaign, each.address not in self.current_addresses)
        )


def contents(record: Record) -> list[str]:
    """The content hashes that stages downstream may have been made from."""
    return [*dict.fromkeys((record.content_hash, *record.parts.values()))]


def campaign_of(record: Record) -> str:
    return record.key.partition("/")[0]


def round_of(record: Record) -> int:
    """The round in a record's key; 0 without one."""
    parts = record.key.split("/")
    return int(parts[1].removeprefix("round_")) if len(parts) == 3 else 0


def _stage(record: Record) -> str:
    return str(record.payload["stage"])


def _feeds(upstream: Record, downstream: Record) -> bool:
    """A campaign's policy can be made from a checkpoint, but not from another campaign's policy."""
    return upstream is not downstream and (_stage(downstream) != "policy" or _stage(upstream) in TRAINED)


def _walk(start: Record, neighbours: Callable[[Record], Iterable[Record | None]]) -> list[Record]:
    """All records that can be reached, nearest first."""
    found: dict[str, Record] = {}
    waiting: deque[Record] = deque([start])
    while waiting:
        for each in neighbours(waiting.popleft()):
            if each is not None and each.address not in found and each.address != start.address:
                found[each.address] = each
                waiting.append(each)
    return list(found.values())
