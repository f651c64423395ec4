"""The policies whose replies to held-out prompts people can compare: base, the rounds, and the champion."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import REPLY
from rft_pipeline.campaign.continuation import BASE, START
from rft_pipeline.errors import ConfigError, StoreError
from rft_pipeline.labels.held_out import CHAMPION as CHAMPION_FILE
from rft_pipeline.labels.held_out import DECISION
from rft_pipeline.store import Home, Record, RecordStore, champions

WARM_START, CHAMPION = "warm-start", "champion"
"""Names of sides on the command line, next to base, start, round-1, round-2, …"""
STARTS = (WARM_START, START, BASE)
"""Names of the policy that round 1 started from, the first that there is."""


@dataclass(frozen=True)
class PolicyReplies:
    """A policy's replies to held-out prompts."""

    name: str
    """As people read it: `base`, `start`, `round 1`, `the champion`."""
    policy: str
    """Content hash of the weights."""
    rows: pl.DataFrame
    """rollout_id, policy, prompt_id, sample_index, and what a judge may see."""


Policies = Mapping[str, PolicyReplies]
"""By the side's name on the command line; `champion` may be another name of base or of a round."""


def policies(campaign: Campaign, home: Home) -> dict[str, PolicyReplies]:
    """The policies with replies, in the order of the eval report; empty without an eval report.

    What the promotion sampled to compare with comes first, as in its comparisons: a champion that is not in the report,
    or, while an edit cycle has no champion, base or the warm start.
    """
    records = RecordStore(home.store)
    report = newest_report(campaign, records)
    if report is None:
        return {}
    rows = pl.read_parquet(report.path("eval_reports.parquet"), glob=False)
    numbers = json.loads(report.path("report.json").read_text(encoding="utf-8"))
    found: dict[str, PolicyReplies] = {}
    for each in filter(None, (numbers["other"], *numbers["rounds"])):
        here = _replies(each["name"], rows.filter(round=each["round"]))
        found[side_name(here.name)] = here
    champion = champions.champion(home.root, campaign.name)
    if champion is not None:
        same = next((each for each in found.values() if each.policy == champion.content_hash), None)
        if same is not None:
            return {**found, CHAMPION: same}
    sampled = _sampled_rival(records, campaign, report)
    if sampled is None:
        return found
    if champion is None:
        return {side_name(sampled.name): sampled, **found}
    return {CHAMPION: sampled, **found} if sampled.policy == champion.content_hash else found


def newest_report(campaign: Campaign, records: RecordStore) -> Record | None:
    """The eval report of the last round that has one."""
    found = (
        records.current(f"{campaign.name}/round_{round_}/eval_reports") for round_ in range(campaign.rounds, 0, -1)
    )
    return next((record for record in found if record is not None), None)


def sides(found: Policies, campaign: str, of: str | None, against: str | None) -> tuple[PolicyReplies, PolicyReplies]:
    """The two policies to compare. Without names: the start of the training, and the champion or else the newest round.

    Raises `StoreError` without an eval report, `ConfigError` for an unknown name or twice the same policy.
    """
    if not found:
        raise StoreError(f"{campaign} has no eval report yet; run it first: rft run {campaign}")
    start = _side(found, "--of", of or next(name for name in STARTS if name in found))
    if against is None:
        champion = found.get(CHAMPION)
        rounds = [name for name in found if name.startswith("round-")]
        against = CHAMPION if champion is not None and champion.policy != start.policy else rounds[-1]
    tuned = _side(found, "--against", against)
    if start.policy == tuned.policy:
        raise ConfigError(
            f"{start.name} and {tuned.name} have the same weights; name two policies with --of and --against: "
            f"{', '.join(found)}"
        )
    return start, tuned


def side_name(name: str) -> str:
    """A policy's name on the command line: `round 1`, `round_1` and `Round-1` are `round-1`."""
    return name.strip().casefold().replace(" ", "-").replace("_", "-")


def _side(found: Policies, option: str, name: str) -> PolicyReplies:
    side = found.get(side_name(name))
    if side is None:
        raise ConfigError(f"{option} {name}: the newest eval report has no such policy; there are: {', '.join(found)}")
    return side


def _sampled_rival(records: RecordStore, campaign: Campaign, report: Record) -> PolicyReplies | None:
    """The replies that the promotion on a report sampled: those of a champion, of base or of the warm start that is not
    in the report."""
    promotion = records.current(f"{campaign.name}/promotion")
    if promotion is None or not (promotion.folder / CHAMPION_FILE).is_file():
        return None
    if promotion.upstream["eval_reports"] != report.address:
        return None
    decided = json.loads(promotion.path(DECISION).read_text(encoding="utf-8"))
    return _replies(decided["champion"], pl.read_parquet(promotion.path(CHAMPION_FILE), glob=False))


def _replies(name: str, rows: pl.DataFrame) -> PolicyReplies:
    columns = ("rollout_id", "policy", "prompt_id", "sample_index", *REPLY)
    return PolicyReplies(name, rows["policy"][0], rows.select(columns))
