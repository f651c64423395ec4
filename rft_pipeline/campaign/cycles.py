"""Retraining cycles, and the current campaign: campaign.yaml with the changes of the newest cycle.

A cycle is a folder `<home>/cycles/<campaign>/<number>/`. When the cycle begins, these files are written:

- `prompts.jsonl`: the prompts drawn from the logs
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
from rft_pipeline.errors import RftError, StoreError
from rft_pipeline.files import replace_text
from rft_pipeline.store import Home, RecordStore, champions

FOLDER = "cycles"
CYCLE = "cycle.json"
PROMPTS = "prompts.jsonl"
SEEN = "seen.txt"
SOURCES = "sources.txt"
OUTCOME = "outcome.json"
WITHDRAWN = "withdrawn"
ANCHORS = "anchors.parquet"
"""The judges' anchor scores when the cycle began, if there were any."""
DRIFT = "drift"
"""The role of these anchor scores; the first report of the cycle continues from them."""


@dataclass(frozen=True)
class Pinned:
    """The champion a cycle starts from."""

    address: str
    """Of the checkpoint's record."""
    content_hash: str
    """Of the weights."""


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

    @property
    def tags(self) -> dict[str, str]:
        """Tags of its Dagster runs."""
        return {"rft/cycle": str(self.number), "rft/champion": "none" if self.policy is None else self.policy.address}

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
            found.append(Cycle(stored["number"], path.parent, policy, stored.get("drift")))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{path}: cannot be read: {error}; correct it, or remove the cycle's folder") from error
    return sorted(found, key=lambda cycle: cycle.number)


def newest(home: Home, campaign: str) -> Cycle | None:
    """The newest cycle that was not withdrawn."""
    valid = [cycle for cycle in cycles(home, campaign) if not cycle.withdrawn]
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
    replace_text(cycle.folder / OUTCOME, json.dumps(outcome, indent=2) + "\n")


def withdraw(cycle: Cycle) -> None:
    """Withdraw a cycle permanently; its number is not used again."""
    (cycle.folder / WITHDRAWN).touch()


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
    """The newest cycle of a campaign that retrains; None if none was drawn."""
    if campaign.schedule is None or campaign.schedule.retrain is None:
        return None
    return newest(home, campaign.name)


def load_current(home: Home, name: str) -> Campaign:
    """The current campaign: `campaign.yaml`, with the prompts and start weights of the newest cycle if there is one.

    Planning and running stages must load campaigns here. Raises `ConfigError`, or `StoreError` for a damaged cycle.
    """
    return _with_newest_cycle(load_campaign(home.campaign_folder(name)), home)


def load_all(home: Home) -> dict[str, Campaign | RftError]:
    """Every campaign of a home as written, by folder name; the error for a campaign that cannot be read."""
    return {name: _campaign_or_error(home.data / name) for name in home.campaigns()}


def _campaign_or_error(folder: Path) -> Campaign | RftError:
    try:
        return load_campaign(folder)
    except RftError as error:
        return error


def _with_newest_cycle(campaign: Campaign, home: Home) -> Campaign:
    """A campaign as written, with the prompts and start weights of its newest cycle.

    The prompts' path is relative to the campaign's folder, so a project that is moved as a whole keeps its records. It
    is taken between resolved folders, because `..` after a symbolic link leaves the folder that the link points to.
    """
    cycle = cycle_of(campaign, home)
    if cycle is None:
        return campaign
    train = PromptSource(source=os.path.relpath((cycle.folder / PROMPTS).resolve(), campaign.folder.resolve()))
    changed = {"prompts": campaign.prompts.model_copy(update={"train": train})}
    if cycle.policy is None:
        return campaign.model_copy(update=changed)
    model = f"{champions.PREFIX}{campaign.name}@{cycle.policy.address}"
    policy = campaign.policy.model_copy(update={"model": model, "server": None})
    return campaign.model_copy(update={**changed, "policy": policy})
