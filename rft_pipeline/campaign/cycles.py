"""Cycles of retraining, and the campaign in force: campaign.yaml as the newest cycle runs it.

A cycle is in `<home>/cycles/<campaign>/<number>/`: `prompts.jsonl`, drawn from the logs; `seen.txt`, the prompts that
were new in the logs; `anchors.parquet`, how the judges had scored the anchors so far, where they had; `cycle.json`,
what was drawn and which weights the cycle starts from. These are pinned when the cycle begins: a promotion at its end
makes nothing of the cycle stale, and so launches nothing. `outcome.json` comes when the cycle's promotion was decided;
without it the cycle was interrupted: it goes on, or where more is new, the next one begins and what was new to the
interrupted one still is. `sources.txt` names by hash the rows that were drawn: where one of them opts out before the
decision, the cycle is `withdrawn` and never goes on.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rft_pipeline.campaign import Campaign, PromptSource, load_campaign
from rft_pipeline.errors import RftError, StoreError
from rft_pipeline.store import Home, RecordStore, champions

FOLDER = "cycles"
CYCLE = "cycle.json"
PROMPTS = "prompts.jsonl"
SEEN = "seen.txt"
SOURCES = "sources.txt"
OUTCOME = "outcome.json"
WITHDRAWN = "withdrawn"
ANCHORS = "anchors.parquet"
"""How the judges had scored the anchors when the cycle began, where they had."""
DRIFT = "drift"
"""The source and input that says how the judges scored the anchors before a cycle; its first report goes on from it."""


@dataclass(frozen=True)
class Pinned:
    """The champion a cycle starts from."""

    address: str
    """Of its checkpoint's record."""
    content_hash: str
    """Of its weights."""


@dataclass(frozen=True)
class Cycle:
    """A cycle that was drawn."""

    number: int
    """Counted from 1."""
    folder: Path
    policy: Pinned | None
    """None where there was no champion: it starts from the policy that campaign.yaml names."""
    drift: Mapping[str, Any] | None = None
    """What the scored anchors go back to: the report's address, the file's sha256, and each criterion's process; None
    where none were scored before."""

    @property
    def tags(self) -> dict[str, str]:
        """Of its Dagster runs."""
        return {"rft/cycle": str(self.number), "rft/champion": "none" if self.policy is None else self.policy.address}

    @property
    def finished(self) -> bool:
        """Whether its promotion was decided."""
        return (self.folder / OUTCOME).is_file()

    @property
    def withdrawn(self) -> bool:
        """Whether somebody whose prompt it holds opted out before it was finished."""
        return (self.folder / WITHDRAWN).is_file()

    @property
    def sources(self) -> list[list[str]]:
        """Of each row that was drawn, the hash of its prompt as it was logged and of its id."""
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
            raise StoreError(f"{path}: cannot be read: {error}; mend it, or remove the cycle's folder") from error
    return sorted(found, key=lambda cycle: cycle.number)


def newest(home: Home, campaign: str) -> Cycle | None:
    """The cycle in force."""
    there = [cycle for cycle in cycles(home, campaign) if not cycle.withdrawn]
    return there[-1] if there else None


def seen_by(found: list[Cycle]) -> set[str]:
    """The prompt_id of every prompt that these cycles found in the logs."""
    return {line for cycle in found for line in _lines(cycle.folder / SEEN)}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error}; restore it, or remove the cycle's folder") from error


def finish(cycle: Cycle, outcome: Mapping[str, str]) -> None:
    """Write down how a cycle ended; what was decided last stands there."""
    beside = cycle.folder / f".{OUTCOME}-{os.getpid()}"
    beside.write_text(json.dumps(outcome, indent=2) + "\n", encoding="utf-8")
    beside.replace(cycle.folder / OUTCOME)


def withdraw(cycle: Cycle) -> None:
    """Take a cycle out of force for good; its number stays taken."""
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
            f"{champions.path_of(home.root, campaign)}: names {found.record}, whose record is gone or not whole; "
            f"no cycle can start from it: `rft rollback {campaign}` goes back to the champion before, `rft promote "
            f"{campaign} --round N --force --why ...` makes another round champion"
        )
    return Pinned(found.record, found.content_hash)


def cycle_of(campaign: Campaign, home: Home) -> Cycle | None:
    """The cycle a campaign runs: the newest, where it retrains and one was drawn."""
    if campaign.schedule is None or campaign.schedule.retrain is None:
        return None
    return newest(home, campaign.name)


def load_in_force(home: Home, name: str) -> Campaign:
    """The campaign that runs: `campaign.yaml`, and where a cycle was drawn, with its prompts and the weights it pins.

    Everything that plans or runs stages loads campaigns here. Raises `ConfigError`, `StoreError` for a damaged cycle.
    """
    return in_force(load_campaign(home.campaign_folder(name)), home)


def load_all(home: Home) -> dict[str, Campaign | RftError]:
    """Every campaign of a home as written, by folder; where one cannot be read, the error that says why."""
    return {name: _campaign_or_error(home.data / name) for name in home.campaigns()}


def _campaign_or_error(folder: Path) -> Campaign | RftError:
    try:
        return load_campaign(folder)
    except RftError as error:
        return error


def in_force(campaign: Campaign, home: Home) -> Campaign:
    """The same of a campaign that was read before.

    The prompts' path is relative to campaign.yaml, so that a project that is moved as a whole finds its records again;
    between resolved folders, since `..` behind a link leads out of the folder that the link names.
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
