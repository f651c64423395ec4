"""Cycles, and the current campaign: campaign.yaml with the changes of the newest cycle.

A retraining cycle begins with new interaction logs; an edit cycle with an edit of the rubric or of what else steers the
training, and has one short round on the prompts that the campaign has. A cycle is a folder
`<home>/cycles/<campaign>/<number>/`. When the cycle begins, these files are written:

- `prompts.jsonl`: the prompts drawn from the logs; an edit cycle has none
- `seen.txt`: the prompts that were new in the logs
- `sources.txt`: hashes of the rows that were drawn
- `anchors.parquet`: the judges' anchor scores so far, if there are any
- `cycle.json`: what was drawn, and the weights that the cycle starts from

They do not change, so the promotion at the end of a cycle makes none of its results stale. `outcome.json` is written
when the promotion is decided. A cycle without it was interrupted: it continues, or a new cycle begins if the logs hold
more new prompts; prompts that were new to the interrupted cycle still count as new. If a drawn row opts out before the
decision, the cycle is `withdrawn` and never continues.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rft_pipeline.campaign import Campaign, PromptSource, load_campaign
from rft_pipeline.campaign.continuation import START, Continuation, Pinned
from rft_pipeline.errors import RftError, StoreError
from rft_pipeline.models import CHECKPOINT
from rft_pipeline.store import Home, RecordStore, champions
from rft_pipeline.store.shared import write_through

FOLDER = "cycles"
CYCLE = "cycle.json"
PROMPTS = "prompts.jsonl"
SEEN = "seen.txt"
SOURCES = "sources.txt"
OUTCOME = "outcome.json"
WITHDRAWN = "withdrawn"
LONGEST_TAG = 200
"""Characters of the reasons in a tag of Dagster."""
ANCHORS = "anchors.parquet"
"""The judges' anchor scores when the cycle began, if there were any."""
DRIFT = "drift"
"""The role of these anchor scores; the first report of the cycle continues from them."""


@dataclass(frozen=True)
class Edit:
    """What an edit cycle does."""

    continuation: Continuation
    reasons: tuple[str, ...]
    """What was edited, in words."""
    prompts_of: int | None
    """The retraining cycle whose prompts it uses; None for those in campaign.yaml."""


@dataclass(frozen=True)
class Cycle:
    """A cycle that was drawn."""

    number: int
    """Counted from 1."""
    folder: Path
    policy: Pinned | None
    """None without a champion: the cycle starts from the policy in campaign.yaml."""
    drift: Mapping[str, Any] | None = None
    """The source of the anchor scores: the report's address, the file's sha256, and each criterion's drift process.
    None if no anchors were scored before."""
    edit: Edit | None = None
    """None for a retraining cycle."""

    @property
    def tags(self) -> dict[str, str]:
        """Tags of its Dagster runs."""
        kind = {} if self.edit is None else {"rft/edit": "; ".join(self.edit.reasons)[:LONGEST_TAG]}
        start = "none" if self.policy is None else self.policy.address
        return {"rft/cycle": str(self.number), "rft/champion": start, **kind}

    @property
    def finished(self) -> bool:
        """Whether its promotion is decided."""
        return (self.folder / OUTCOME).is_file()

    @property
    def withdrawn(self) -> bool:
        """Whether a row of this cycle opted out before the cycle was finished."""
        return (self.folder / WITHDRAWN).is_file()

    @property
    def sources(self) -> list[list[str]]:
        """For each drawn row, the hashes of its prompt as logged and of its id."""
        return [line.split() for line in _lines(self.folder / SOURCES)]


def cycles(home: Home, campaign: str) -> list[Cycle]:
    """All cycles of a campaign, oldest first. Raises `StoreError` for one that cannot be read."""
    found = []
    for folder in cycles_folder(home, campaign).glob("[!.]*/"):
        path = folder / CYCLE
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            policy = None if stored["policy"] is None else Pinned(**stored["policy"])
            edit = None if stored.get("edit") is None else _edit(stored["edit"])
            found.append(Cycle(stored["number"], path.parent, policy, stored.get("drift"), edit))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{path}: cannot be read: {error}; correct it, or remove the cycle's folder") from error
    return sorted(found, key=lambda cycle: cycle.number)


def _edit(stored: Mapping[str, Any]) -> Edit:
    start, taken = (None if stored[name] is None else Pinned(**stored[name]) for name in ("start", "taken"))
    if start is None:
        raise ValueError("edit.start is null")
    return Edit(Continuation(start, stored["generations"], taken), tuple(stored["reasons"]), stored["prompts_of"])


def newest(home: Home, campaign: str) -> Cycle | None:
    """The newest retraining cycle that was not withdrawn."""
    valid = [cycle for cycle in cycles(home, campaign) if not cycle.withdrawn and cycle.edit is None]
    return valid[-1] if valid else None


def seen_by(found: list[Cycle]) -> set[str]:
    """The prompt_id of every prompt that these cycles found in the logs."""
    return {line for cycle in found for line in _lines(cycle.folder / SEEN)}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error}; restore it, or remove the cycle's folder") from error


def finish(cycle: Cycle, outcome: Mapping[str, str]) -> None:
    """Write the outcome of a cycle; a later decision replaces it."""
    write_through(cycle.folder / OUTCOME, json.dumps(outcome, indent=2) + "\n")


def withdraw(cycle: Cycle) -> None:
    """Withdraw a cycle permanently; its number is not used again."""
    write_through(cycle.folder / WITHDRAWN, "")


def cycles_folder(home: Home, campaign: str) -> Path:
    return home.root / FOLDER / campaign


def champion(home: Home, campaign: str) -> Pinned | None:
    """The champion's checkpoint, if one was promoted. Raises `StoreError` when its record is gone."""
    found = champions.champion(home.root, campaign)
    if found is None:
        return None
    if RecordStore(home.store).at(found.record) is None:
        raise StoreError(
            f"{champions.path_of(home.root, campaign)}: names {found.record}, whose record is missing or incomplete, "
            f"so no cycle can start from it; `rft rollback {campaign}` restores the previous champion, `rft promote "
            f"{campaign} --round N --force --why ...` promotes another round"
        )
    return Pinned(found.record, found.content_hash)


def cycle_of(campaign: Campaign, home: Home) -> Cycle | None:
    """The newest cycle of a campaign that retrains or continues after edits; None if none was begun."""
    found = contexts(campaign, home)
    return found[-1] if found else None


def contexts(campaign: Campaign, home: Home) -> list[Cycle]:
    """The cycles that count for a campaign as it is configured, oldest first: those that are not withdrawn, retraining
    cycles if it retrains, and edit cycles if it continues after edits."""
    retrains = campaign.schedule is not None and campaign.schedule.retrain is not None
    return [
        cycle
        for cycle in cycles(home, campaign.name)
        if not cycle.withdrawn and (retrains if cycle.edit is None else continues(campaign))
    ]


def continues(campaign: Campaign) -> bool:
    """Whether an edit of the rubric begins an edit cycle."""
    return campaign.on_rubric_change == "continue" and campaign.generations is not None


def load_current(home: Home, name: str) -> Campaign:
    """The current campaign: `campaign.yaml`, with the prompts and start weights of the newest cycle if there is one.

    Planning and running stages must load campaigns here. Raises `ConfigError`, or `StoreError` for a damaged cycle.
    """
    campaign = load_campaign(home.campaign_folder(name))
    cycle = cycle_of(campaign, home)
    return campaign if cycle is None else in_cycle(campaign, cycle)


def load_all(home: Home) -> dict[str, Campaign | RftError]:
    """Every campaign of a home as written, by folder name; the error for a campaign that cannot be read."""
    return {name: _campaign_or_error(home.data / name) for name in home.campaigns()}


def _campaign_or_error(folder: Path) -> Campaign | RftError:
    try:
        return load_campaign(folder)
    except RftError as error:
        return error


def in_cycle(campaign: Campaign, cycle: Cycle) -> Campaign:
    """A campaign as written, with the prompts and start weights of a cycle, and with the round of an edit cycle.

    The prompts' path is relative to the campaign's folder, so a project that is moved as a whole keeps its records. It
    is taken between resolved folders, because `..` after a symbolic link leaves the folder that the link points to.
    """
    changed: dict[str, Any] = {}
    drawn = cycle.folder if cycle.edit is None else None
    if cycle.edit is not None and cycle.edit.prompts_of is not None:
        drawn = cycle.folder.parent / str(cycle.edit.prompts_of)
    if drawn is not None:
        file = os.path.relpath((drawn / PROMPTS).resolve(), campaign.folder.resolve())
        train = PromptSource(source=file, format="prompts")
        changed["prompts"] = campaign.prompts.model_copy(update={"train": train})
    if cycle.policy is not None:
        prefix = f"{champions.PREFIX}{campaign.name}@" if cycle.edit is None else CHECKPOINT
        model = f"{prefix}{cycle.policy.address}"
        changed["policy"] = campaign.policy.model_copy(update={"model": model, "server": None})
        changed["training"] = campaign.training.model_copy(update={"warm_start": None})
        changed["policy_called"] = START
    if cycle.edit is not None and campaign.generations is not None:
        continuation = cycle.edit.continuation
        prompts = continuation.generations * campaign.generations.prompts
        changed |= {"continuation": continuation, "rounds": 1}
        changed["rollouts"] = campaign.rollouts.model_copy(update={"prompts_per_round": prompts})
    return campaign.model_copy(update=changed)
