"""Finds the records to keep: current records, champions, lines of keep.txt, and everything these were made from."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import (
    JudgementKey,
    judged_criteria,
    judges_for_alarms,
    retest_judge_id,
    sampling_fingerprint,
)
from rft_pipeline.errors import StoreError
from rft_pipeline.models import CHECKPOINT
from rft_pipeline.pipeline.plan import settle
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.stages.base import TRAINED
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home, Record, RecordStore, champions
from rft_pipeline.upkeep.layout import KEEP, StoreLayout, another_champion, champions_in, is_record, kept_by, pointed_to


@dataclass(frozen=True)
class Reuse:
    """Table rows that an unfinished campaign may use again, e.g. rows of a killed run."""

    rollouts: list[tuple[str, str]] = field(default_factory=list)
    """Policy and sampling."""
    judgements: set[JudgementKey] = field(default_factory=set)


@dataclass(frozen=True)
class State:
    """A campaign and the records that a run of it would reuse."""

    campaign: Campaign
    sources: dict[str, str]
    """Hashes of the sources outside the graph."""
    settled: dict[str, Record]
    """Node → the record that `rft plan` skips to, current or not."""


def closure(roots: Iterable[str], upstream: Callable[[str], Iterable[str]]) -> set[str]:
    """The roots and everything that can be reached from them."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        if (address := waiting.pop()) not in found:
            found.add(address)
            waiting += upstream(address)
    return found


def reachable(home: Home, states: Iterable[State], there: StoreLayout) -> set[str]:
    """Addresses that must stay; `there` is the layout of the whole store.

    Raises `StoreError` if this is unknown: a champion or a line of keep.txt names nothing, or a reached record cannot
    be read.
    """
    records = RecordStore(home.store)
    roots = {pointed_to(home.store, pointer) for pointer in there.pointers}
    for champion in there.champions:
        for place, each in enumerate(champions_in(champion)):
            if place == 0 and not is_record(home.store, each.record):
                raise StoreError(
                    f"{champion}: names {each.record}, the current champion, which does not exist: "
                    f"{another_champion(champion)}"
                )
            roots |= {each.record, each.report} if is_record(home.store, each.report) else {each.record}
    known = readable(records, there.records)
    for kept in kept_by(home.store, known):
        if not kept.records:
            raise StoreError(
                f"{home.store / KEEP}: line {kept.number}: {kept.line} is neither a record's address nor the id of a "
                "run that made one; correct the line or remove it"
            )
        roots |= {record.address for record in kept.records}
    for state in states:
        roots |= {record.address for record in state.settled.values()}
        roots |= {address for address in _models_within(state.campaign, home.store) if is_record(home.store, address)}

    by_content: dict[str, list[str]] = {}
    for record in known:
        for content in {record.content_hash, *record.parts.values()}:
            by_content.setdefault(content, []).append(record.address)

    def upstream(address: str) -> Iterable[str]:
        if not is_record(home.store, address):
            return ()
        record = records.read(home.store / address)
        if record.upstream:
            return record.upstream.values()
        contents = record.payload["inputs"].values()  # a policy names no record: its weights may be a checkpoint
        return [each for content in contents for each in by_content.get(content, [])]

    return closure(roots, upstream)


def state_of(campaign: Campaign, home: Home) -> State:
    """Raises `DataError` for a missing prompts file."""
    sources = source_hashes(campaign, home, fetch=False)
    plans = settle(campaign, RecordStore(home.store), sources).plans
    return State(campaign, sources, {each.node.name: each.found for each in plans if each.found is not None})


def reuse(states: Iterable[State]) -> Reuse:
    """The table rows that a run of these campaigns may use again."""
    rows = Reuse()
    for state in states:
        campaign = state.campaign
        if len(state.settled) == len(nodes(campaign)):
            continue
        trained = {made.content_hash for made in state.settled.values() if made.payload["stage"] in TRAINED}
        kl = () if campaign.alarms is None else (campaign.evaluation.kl_sampling,)
        for sampling in (campaign.rollouts.sampling, campaign.evaluation.sampling, *kl):
            how = campaign.policy
            drawn = sampling_fingerprint(sampling, how.system, campaign.seed, how.system_in, how.thinking)
            policies = trained | {state.sources[name] for name in ("policy", "champion") if name in state.sources}
            rows.rollouts.extend((policy, drawn) for policy in sorted(policies))
        rounds = {round_: state.settled.get(f"round_{round_}/checkpoints") for round_ in range(1, campaign.rounds + 1)}
        anew = [
            judges_for_alarms(campaign, state.sources, round_, made.content_hash)
            for round_, made in rounds.items()
            if made is not None
        ]
        for judges in [state.sources] if campaign.alarms is None else [state.sources, *anew]:
            for each in judged_criteria(campaign.evaluated, judges):
                rows.judgements.update({each.key, JudgementKey(each.key.criterion, retest_judge_id(each.judge))})
    return rows


def readable(records: RecordStore, folders: Iterable[Path]) -> list[Record]:
    """The records among folders whose record.json can be read."""
    found = []
    for folder in folders:
        if is_record(records.root, folder.relative_to(records.root).as_posix()):
            try:
                found.append(records.read(folder))
            except StoreError:
                continue  # an unreadable record that is reached raises later
    return found


def _models_within(campaign: Campaign, store: Path) -> list[str]:
    """Addresses of records that a campaign names: as its policy or as a judge, or as rollouts that it takes."""
    models = (campaign.policy.model, *(judge.model for judge in campaign.all_judges.values()))
    pinned = [model.partition("@")[2] for model in models if model.startswith(champions.PREFIX)]
    pinned += [model.removeprefix(CHECKPOINT) for model in models if model.startswith(CHECKPOINT)]
    if campaign.continuation is not None and campaign.continuation.taken is not None:
        pinned.append(campaign.continuation.taken.address)
    folders = (campaign.folder / model for model in models)
    below = (os.path.relpath(folder.resolve(), store.resolve()) for folder in folders)
    return [*pinned, *(Path(path).parent.as_posix() for path in below if not path.startswith(os.pardir))]
