"""What would run, and why: every stage's fingerprint is compared with the record in force, without running anything."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from rft_pipeline.addresses import choose_prompts, rollout_addresses, sampling_fingerprint
from rft_pipeline.campaign import Campaign
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.graph import Node, nodes, payload
from rft_pipeline.sources import source_hashes
from rft_pipeline.store import Home, Record, RecordStore, rollouts_table


@dataclass(frozen=True)
class Rows:
    """Rows a stage would make, and those of its rows that are there already."""

    make: int
    have: int


@dataclass(frozen=True)
class Step:
    """What would happen to one stage."""

    key: str
    action: str
    """`run` or `skip`."""
    reasons: list[str]
    rows: Rows


def plan(campaign: Campaign, home: Home) -> list[Step]:
    """One step a node, upstream first. Raises `DataError` for a missing prompts file."""
    records = RecordStore(home.store)
    sources = source_hashes(campaign, home, fetch=False)
    settled: dict[str, Record | None] = {}
    steps = []
    for here in nodes(campaign):
        current = records.current(here.key)
        above = {role: settled[name] for role, name in here.upstream.items()}
        waiting = [name for role, name in here.upstream.items() if above[role] is None]
        known = {role: record for role, record in above.items() if record is not None}
        if waiting:
            reasons = [f"{name} will be made" for name in waiting]
            settled[here.name] = None
        else:
            made_from = payload(campaign, here, known, sources)
            found = records.find(here.key, fingerprint(made_from))
            settled[here.name] = found
            reasons = [] if found else _why(current, made_from)
        action = "skip" if settled[here.name] else "run"
        steps.append(Step(here.key, action, reasons, _rows(campaign, here, known, settled[here.name], home)))
    return steps


def as_json(steps: list[Step]) -> dict[str, Any]:
    return {"stages": [asdict(step) for step in steps]}


def differences(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "") -> list[str]:
    """The keys in which two payloads differ, with both values where they are short; things in a list go by name."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        name = f"{where}{key}"
        if key not in old:
            found.append(f"{name}: new")
        elif key not in new:
            found.append(f"{name}: gone")
        elif isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            found += differences(old[key], new[key], f"{name}.")
        elif old[key] != new[key]:
            named = [_by_name(value) for value in (old[key], new[key])]
            within = differences(*named, f"{name}.") if all(named) else []
            found += within or [f"{name}: {_short(old[key])} → {_short(new[key])}"]
    return found


def _by_name(value: Any) -> dict[str, Any]:
    """A list of things with names, by name; empty for anything else."""
    named = isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value)
    return {item["name"]: item for item in value} if named else {}


def _why(current: Record | None, made_from: dict[str, Any]) -> list[str]:
    if current is None:
        return ["never made"]
    return [_in_words(line) for line in differences(current.payload, made_from)] or ["its files are missing"]


def _in_words(difference: str) -> str:
    where, _, change = difference.partition(": ")
    area, _, rest = where.partition(".")
    if area == "inputs":
        return f"input {rest} changed"
    if area == "settings" and rest.startswith("criteria."):
        _, name, *setting = rest.split(".")
        if setting and setting[0] not in ("judge", "protocol_version"):
            return f'criterion "{name}": {setting[0]} {change}'
        return f'criterion "{name}": {"judge changed" if setting else change}'
    return f"{rest or where}: {change}"


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _rows(campaign: Campaign, here: Node, known: Mapping[str, Record], found: Record | None, home: Home) -> Rows:
    """Rollouts and judgements are counted; other stages make one result."""
    how = campaign.rollouts
    rollouts = how.prompts_per_round * how.group_size
    match here.stage:
        case "rollouts":
            have = rollouts if found else _rollouts_there(campaign, here, known, home)
            return Rows(make=rollouts - have, have=have)
        case "judge_scores":
            total = rollouts * len(campaign.rubric.criteria)
            return Rows(make=0 if found else total, have=total if found else 0)
        case _:
            return Rows(make=int(found is None), have=int(found is not None))


def _rollouts_there(campaign: Campaign, here: Node, known: Mapping[str, Record], home: Home) -> int:
    """How many of a round's rollouts the table holds already."""
    if "policy" not in known or "prompts" not in known:
        return 0
    how, policy = campaign.rollouts, known["policy"].content_hash
    prompts = pl.read_parquet(known["prompts"].path("prompts.parquet")).filter(split="train")
    chosen = choose_prompts(prompts, how.prompts_per_round, campaign.seed, here.round)
    sampling = sampling_fingerprint(how.sampling, campaign.policy.system, campaign.seed)
    wanted = rollout_addresses(chosen, policy, sampling, how.group_size)
    return wanted.height - rollouts_table(home.store).missing(wanted, pl.col("policy") == policy).height
