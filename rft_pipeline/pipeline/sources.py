"""Hashes of what is outside the graph: prompt files, anchors, people's labels, models and the champion."""

import json
from pathlib import Path

from rft_pipeline import models
from rft_pipeline.campaign import Campaign, PromptSource
from rft_pipeline.campaign.addresses import judge_models, with_answer_settings
from rft_pipeline.campaign.cycles import DRIFT, cycle_of
from rft_pipeline.errors import DataError
from rft_pipeline.fingerprint import file_sha256, fingerprint
from rft_pipeline.labels.decided import DECIDED, TRAIN_PAIRS, decided_source
from rft_pipeline.labels.feedback import FEEDBACK, feedback_source
from rft_pipeline.labels.preferences import PREFERENCES, preferences_source
from rft_pipeline.labels.preferred import PREFERRED, preferred_source
from rft_pipeline.labels.table import HELD_OUT_LABELS, source_of
from rft_pipeline.promotion import looks
from rft_pipeline.stages.promotion import FIRST_POLICY, first_policy
from rft_pipeline.stages.replaying import REPLAY
from rft_pipeline.stages.warm_start import imitates_preferred
from rft_pipeline.store import Home, RecordStore, champions

DECIDING = "champion"
"""The prefix of sources that only the promotion reads."""
ABSENT = "absent"
"""In place of the hash of a model that was not fetched yet; no record can be made from it."""


def source_hashes(campaign: Campaign, home: Home, fetch: bool) -> dict[str, str]:
    """Source → hash, and the looks of promotions as JSON. Models that are missing are fetched with `fetch`, else they
    are `absent`.

    People's labels and preferences are sources once there are any. Raises `DataError` for a missing prompts file,
    `ModelError` for a model that cannot be fetched.
    """
    wanted = {"policy": campaign.policy.model, **judge_models(campaign)}
    labels = {
        "labels": source_of(campaign, home.store),
        HELD_OUT_LABELS: source_of(campaign, home.store, held_out=True),
        PREFERENCES: preferences_source(campaign.name, home.store),
        PREFERRED: preferred_source(campaign.name, home.store) if imitates_preferred(campaign) else None,
        TRAIN_PAIRS: decided_source(campaign.name, home.store, held_out=False)
        if campaign.training.how.reads_pairs
        else None,
        FEEDBACK: None if campaign.audit is None else feedback_source(campaign.name, home.store),
        DECIDED: None if campaign.audit is None else decided_source(campaign.name, home.store),
    }
    find = models.identify if fetch else models.known
    found = {name: find(model, home.models, campaign.folder) or ABSENT for name, model in wanted.items()}
    return {
        "prompts.train": _prompts_hash(campaign, campaign.prompts.train),
        "prompts.eval": _prompts_hash(campaign, campaign.prompts.eval),
        **({} if campaign.anchors_path is None else {"anchors": _anchors_hash(campaign.anchors_path)}),
        **({} if campaign.rollouts.replay is None else {REPLAY: _replay_hash(campaign)}),
        **{name: content for name, content in labels.items() if content is not None},
        **with_answer_settings(campaign, found),
        **_champions(campaign, home),
        **_looks(home.root, campaign.name),
        **_drift(campaign, home),
    }


def where_from(campaign: Campaign, source: str) -> str:
    """A source for messages: its name, with its file or model if it has one."""
    places = {
        "prompts.train": campaign.folder / campaign.prompts.train.source,
        "prompts.eval": campaign.folder / campaign.prompts.eval.source,
        "anchors": campaign.anchors_path,
        REPLAY: None if campaign.rollouts.replay is None else campaign.folder / campaign.rollouts.replay,
        "policy": f"model {campaign.policy.model}",
        **{name: f"model {model}" for name, model in judge_models(campaign).items()},
    }
    place = places.get(source)
    return source if place is None else f"{source} ({place})"


def _champions(campaign: Campaign, home: Home) -> dict[str, str]:
    """`champion`: the current one. `champion.<its eval report>`: the one that this report's rounds had to beat; empty
    for base. `champion.base`: the policy that they had to beat in an edit cycle without a champion."""
    known = champions.history(home.root, campaign.name)
    now, rival, found = champions.current(known), None, {}
    if now is not None:
        evidence = champions.promotion_of(known, now).evidence
        rival = champions.to_beat(known, evidence)
        found = {"champion": now.content_hash, f"champion.{evidence}": "" if rival is None else rival.content_hash}
    if rival is None and campaign.continuation is not None:
        first = first_policy(campaign.continuation, RecordStore(home.store))
        found |= {} if first is None else {FIRST_POLICY: first.content_hash}
    return found


def _looks(root: Path, campaign: str) -> dict[str, str]:
    """How often promotions looked at each set of held-out prompts; empty before the first decision."""
    found = looks.read(root, campaign)
    return {looks.LOOKS: json.dumps(found)} if found else {}


def _drift(campaign: Campaign, home: Home) -> dict[str, str]:
    """The judges' scores of the anchors when the cycle began, if the alarms continue them."""
    cycle = None if campaign.alarms is None or campaign.anchors_path is None else cycle_of(campaign, home)
    return {} if cycle is None or cycle.drift is None else {DRIFT: fingerprint(cycle.drift)}


def _anchors_hash(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path}: no such file; `anchors` in campaign.yaml names it")
    return file_sha256(path)


def _replay_hash(campaign: Campaign) -> str:
    path = campaign.folder / str(campaign.rollouts.replay)
    if not path.is_file():
        raise DataError(f"{path}: no such file; `rollouts.replay` in campaign.yaml names it")
    return file_sha256(path)


def _prompts_hash(campaign: Campaign, source: PromptSource) -> str:
    if source.file_type == "hub":
        return fingerprint({"hub": source.source, "split": source.split_or_train})
    path = campaign.folder / source.source
    if not path.is_file():
        raise DataError(f"{path}: no such file; `prompts` in campaign.yaml of {campaign.name} names it")
    return file_sha256(path)
