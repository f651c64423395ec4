"""What would run, and why: every stage's fingerprint is compared with the record in force, without running anything."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from rft_pipeline.addresses import choose_prompts, rollout_addresses, sampling_fingerprint
from rft_pipeline.campaign import Campaign
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.graph import CONFIGURED, Node, nodes, payload
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
        needed = {name: role for role, name in here.upstream.items() if role not in CONFIGURED}
        waiting = [name for name, role in needed.items() if above[role] is None]
        known = {role: record for role, record in above.items() if record is not None}
        made_from = None if waiting else payload(campaign, here, known, sources)
        found = None if made_from is None else records.find(here.key, fingerprint(made_from))
        settled[here.name] = found
        wanted = _rows_wanted(campaign, here)
        if found is not None:
            steps.append(Step(here.key, "skip", [], Rows(make=0, have=wanted)))
            continue
        reasons = [f"{name} will be made" for name in waiting] if made_from is None else _why(records, here, made_from)
        have = _rows_there(campaign, here, known, current, made_from, home)
        steps.append(Step(here.key, "run", reasons, Rows(make=wanted - have, have=have)))
    return steps


def as_json(steps: list[Step]) -> dict[str, Any]:
    return {"stages": [asdict(step) for step in steps]}


def differences(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "", longest: int = 40) -> list[str]:
    """The keys in which two payloads differ, with both values cut at `longest`; things in a list go by name."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        name = f"{where}{key}"
        if key not in old:
            found.append(f"{name}: new")
        elif key not in new:
            found.append(f"{name}: gone")
        elif isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            found += differences(old[key], new[key], f"{name}.", longest)
        elif old[key] != new[key]:
            before, after = _by_name(old[key]), _by_name(new[key])
            within = differences(before, after, f"{name}.", longest) if before and after else []
            found += within or [f"{name}: {_short(old[key], longest)} → {_short(new[key], longest)}"]
    return found


def _by_name(value: Any) -> dict[str, Any]:
    """A list of things with names, by name; empty for anything else."""
    named = isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value)
    return {item["name"]: item for item in value} if named else {}


def _why(records: RecordStore, here: Node, made_from: dict[str, Any]) -> list[str]:
    current = records.current(here.key)
    if current is None:
        made_before = (records.root / here.key / "current").is_file()
        return ["files of its record are missing" if made_before else "never made"]
    return list(dict.fromkeys(_in_words(line) for line in differences(current.payload, made_from)))


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


def _short(value: Any, longest: int) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}…"


def _rows_wanted(campaign: Campaign, here: Node) -> int:
    """Rollouts and judgements are counted; other stages make one result."""
    rollouts = campaign.rollouts.prompts_per_round * campaign.rollouts.group_size
    return {"rollouts": rollouts, "judge_scores": rollouts * len(campaign.rubric.criteria)}.get(here.stage, 1)


def _rows_there(
    campaign: Campaign,
    here: Node,
    known: Mapping[str, Record],
    current: Record | None,
    made_from: Mapping[str, Any] | None,
    home: Home,
) -> int:
    """How many of the wanted rows a stage that has to run will find."""
    match here.stage:
        case "rollouts":
            return _rollouts_there(campaign, here, known, home)
        case "judge_scores" if current is not None and made_from is not None:
            return known["rollouts"].rows["rollouts"] * _criteria_judged(current.payload, made_from)
        case _:
            return 0


def _criteria_judged(old: Mapping[str, Any], new: Mapping[str, Any]) -> int:
    """How many criteria were asked in the same words of the same rollouts and the same judge model before."""
    if old["inputs"]["rollouts"] != new["inputs"]["rollouts"]:
        return 0
    same_judge = old["inputs"].get("judge") == new["inputs"].get("judge")
    asked_before = list(old["settings"]["criteria"].values())
    return sum(
        asked in asked_before and (same_judge or asked["judge"]["protocol"] == "rule")
        for asked in new["settings"]["criteria"].values()
    )


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
