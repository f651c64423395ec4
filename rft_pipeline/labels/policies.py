"""The policies whose replies to held-out prompts people can compare: base, the rounds, and the champion."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import REPLY
from rft_pipeline.errors import ConfigError, StoreError
from rft_pipeline.labels.held_out import CHAMPION as CHAMPION_FILE
from rft_pipeline.store import Home, Record, RecordStore, champions

BASE, WARM_START, CHAMPION = "base", "warm-start", "champion"
"""Names of sides on the command line, next to round-1, round-2, …"""


@dataclass(frozen=True)
class PolicyReplies:
    """A policy's replies to held-out prompts."""

    name: str
    """As people read it: `base`, `round 1`, `the champion`."""
    policy: str
    """Content hash of the weights."""
    rows: pl.DataFrame
    """rollout_id, policy, prompt_id, sample_index, and what a judge may see."""


Policies = Mapping[str, PolicyReplies]
"""By the side's name on the command line; `champion` may be another name of base or of a round."""


def policies(campaign: Campaign, home: Home) -> dict[str, PolicyReplies]:
    """The policies with replies, in the order of the eval report; empty without an eval report.

    A champion that is neither base nor a round comes first, as in the comparisons of the promotion.
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
        sampled = _sampled_rival(records, campaign)
        if sampled is not None and sampled.policy == champion.content_hash:
            return {CHAMPION: sampled, **found}
    return found


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
    start = _side(found, "--of", of or (WARM_START if WARM_START in found else BASE))
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


def _sampled_rival(records: RecordStore, campaign: Campaign) -> PolicyReplies | None:
    """The replies that the promotion sampled: those of a champion that is in no eval report."""
    promotion = records.current(f"{campaign.name}/promotion")
    if promotion is None or not (promotion.folder / CHAMPION_FILE).is_file():
        return None
    return _replies("the champion", pl.read_parquet(promotion.path(CHAMPION_FILE), glob=False))


def _replies(name: str, rows: pl.DataFrame) -> PolicyReplies:
    columns = ("rollout_id", "policy", "prompt_id", "sample_index", *REPLY)
    return PolicyReplies(name, rows["policy"][0], rows.select(columns))
