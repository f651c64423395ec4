"""Edit cycles: after an edit of what steers the training, a campaign continues from the weights that it has.

First the reports of the rounds that stand are made again, from stored replies that are judged anew on what was edited.
Then a cycle begins: one round of a few generations from the champion, or else from the last checkpoint.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from rft_pipeline.alarms.history import newest_report
from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.campaign.continuation import Continuation, Pinned
from rft_pipeline.campaign.cycles import (
    CYCLE,
    SEEN,
    SOURCES,
    Cycle,
    Edit,
    champion,
    contexts,
    continues,
    cycles,
    cycles_folder,
    in_cycle,
    withdraw,
)
from rft_pipeline.errors import ConfigError
from rft_pipeline.pipeline.plan.edits import steering_edits, trained, trains, waits_for_audit
from rft_pipeline.pipeline.plan.node_plans import NodePlan, node_plans
from rft_pipeline.pipeline.retraining import drift_at_begin
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.stages import STAGES, Node
from rft_pipeline.stages.base import WARM_START
from rft_pipeline.stages.columns import columns_of, trained_on
from rft_pipeline.store import Home, Record, RecordStore, champions
from rft_pipeline.store.lock import alone
from rft_pipeline.store.shared import publish_folder

SHARE_OF_ROUND = 4
"""An edit cycle has this part (1/4) of a round's generations, unless `training.generations_after_edit` says more."""


@dataclass(frozen=True)
class Standing:
    """A campaign as it is now, and what an edit of it asks for."""

    campaign: Campaign
    """In the newest cycle."""
    cycle: Cycle | None
    begins: Cycle | None = None
    """The edit cycle that an edit asks for; it is not written yet."""
    taken_back: tuple[Cycle, ...] = ()
    """The edit cycles whose edit was taken back."""
    reports: tuple[NodePlan, ...] = ()
    """What is made before the edit cycle begins: the plans of the stages that lead to the reports."""
    if_audit_changes: bool = False
    """Whether the edit cycle begins only if the audit, which runs with the reports, comes to another verdict."""

    @property
    def is_begun(self) -> bool:
        """Whether a run changes nothing about the cycles."""
        return self.begins is None and not self.taken_back

    @property
    def reports_are_made(self) -> bool:
        """Whether the reports of what stands are up to date."""
        return not any(each.cause for each in self.reports)

    @property
    def next(self) -> Campaign:
        """The campaign in the cycle that begins, else as it is."""
        return self.campaign if self.begins is None else in_cycle(self.campaign, self.begins)


def standing(written: Campaign, home: Home) -> Standing:
    """The state of a campaign; `written` is campaign.yaml without a cycle's changes. Nothing is written.

    Raises `StoreError` for a damaged cycle or a champion whose record is gone, `DataError` for missing files.
    """
    found, records = contexts(written, home), RecordStore(home.store)
    here = in_cycle(written, found[-1]) if found else written
    cycle = found[-1] if found else None
    if not continues(written):
        return Standing(here, cycle)
    sources = source_hashes(here, home, fetch=False)
    plans = node_plans(here, records, sources)
    if trained(plans):
        return Standing(here, cycle)
    if (earlier := _made_before(written, found, home, records)) is not None:
        kept, taken_back = earlier
        return Standing(
            kept,
            found[len(found) - len(taken_back) - 1] if len(taken_back) < len(found) else None,
            taken_back=taken_back,
        )
    if cycle is not None and not cycle.finished:
        return Standing(here, cycle)  # it goes on from its start, with the files as they are now
    reasons = steering_edits(plans)
    start = _start(here, home, records) if reasons else None
    if start is None:
        return Standing(here, cycle)
    begins = _cycle(written, here, home, records, start, reasons)
    reports = [each for each in node_plans(here, records, sources, keep=trains) if leads_to_report(each.node)]
    return Standing(here, cycle, begins, reports=tuple(reports), if_audit_changes=waits_for_audit(plans))


def begin(written: Campaign, home: Home) -> Campaign:
    """The campaign as a run must see it: begins the edit cycle that an edit asks for, and withdraws those whose edit
    was taken back."""
    found = standing(written, home)
    if found.is_begun:
        return found.campaign
    folder = cycles_folder(home, written.name)
    with alone(folder / ".begin"):
        found = standing(written, home)
        for cycle in found.taken_back:
            withdraw(cycle)
        if found.begins is not None:
            _write(found.begins, found.campaign, home)
    return found.next


def leads_to_report(node: Node) -> bool:
    """Whether a node is made again for the reports of what stands, before an edit cycle begins."""
    return not trains(node) and STAGES[node.stage].scope != "end"


def _made_before(
    written: Campaign, found: Sequence[Cycle], home: Home, records: RecordStore
) -> tuple[Campaign, tuple[Cycle, ...]] | None:
    """The campaign in an earlier context whose rounds are all made, and the edit cycles after it; None without one."""
    for count in range(len(found) - 1, -1, -1):
        if found[count].edit is None:
            return None
        here = in_cycle(written, found[count - 1]) if count else written
        plans = node_plans(here, records, source_hashes(here, home, fetch=False))
        if trained(plans):
            return here, tuple(found[count:])
    return None


def _start(here: Campaign, home: Home, records: RecordStore) -> Record | None:
    """The checkpoint to continue from: the champion's, else the one that the last report names. None if that is base,
    because of the alarms or because a person rolled back to it: then the rounds run again."""
    if (pinned := champion(home, here.name)) is not None:
        return records.at(pinned.address)
    report = records.current(f"{here.name}/round_{here.rounds}/eval_reports")
    if champions.history(home.root, here.name) or report is None:
        return None
    named = STAGES["eval_reports"].policy_node(report)
    return None if named in (None, "policy", WARM_START) else records.current(f"{here.name}/{named}")


def _cycle(
    written: Campaign, here: Campaign, home: Home, records: RecordStore, start: Record, reasons: tuple[str, ...]
) -> Cycle:
    shared = written.generations
    assert shared is not None
    known = cycles(home, written.name)
    number = known[-1].number + 1 if known else 1
    folder = cycles_folder(home, written.name) / str(number)
    count = written.training.generations_after_edit or max(1, shared.count // SHARE_OF_ROUND)
    begun_from = Pinned(start.address, start.content_hash)
    continuation = Continuation(begun_from, count, _taken(here, records, start))
    retrained = [cycle for cycle in contexts(written, home) if cycle.edit is None]
    edit = Edit(continuation, reasons, retrained[-1].number if retrained else None)
    return Cycle(number, folder, begun_from, drift_at_begin(newest_report(records, written.name)), edit)


def _taken(here: Campaign, records: RecordStore, start: Record) -> Pinned | None:
    """The rollouts that the start was trained on, if they were sampled in generations and on the prompts of now."""
    batch = records.at(start.upstream["reward_batches"])
    rollouts = None if batch is None else records.at(batch.upstream["rollouts"])
    prompts = records.current(f"{here.name}/prompts")
    if rollouts is None or prompts is None or not rollouts.parts:
        return None
    before, names = records.at(rollouts.upstream["prompts"]), trained_on(here)
    if before is None or before.parts["train"] != prompts.parts["train"]:
        return None
    if columns_of(before, "train", names) != columns_of(prompts, "train", names):
        return None
    return Pinned(rollouts.address, rollouts.content_hash)


def _write(cycle: Cycle, here: Campaign, home: Home) -> None:
    """Write the cycle's folder, all or nothing."""
    assert cycle.edit is not None
    temporary = cycle.folder.with_name(f".{cycle.folder.name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    drift = drift_at_begin(newest_report(RecordStore(home.store), here.name), temporary)
    for name in (SEEN, SOURCES):
        (temporary / name).touch()
    if cycle.edit.prompts_of is not None:
        shutil.copyfile(cycle.folder.parent / str(cycle.edit.prompts_of) / SOURCES, temporary / SOURCES)
    described = {
        "number": cycle.number,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "policy": None if cycle.policy is None else asdict(cycle.policy),
        "drift": drift,
        "edit": {
            **asdict(cycle.edit.continuation),
            "reasons": cycle.edit.reasons,
            "prompts_of": cycle.edit.prompts_of,
        },
    }
    (temporary / CYCLE).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    publish_folder(temporary, cycle.folder, last=CYCLE)
    temporary.rename(cycle.folder)


def load_and_begin(home: Home, name: str) -> Campaign:
    """The current campaign for a run of its rounds: an edit cycle that is asked for begins."""
    return begin(load_campaign(home.campaign_folder(name)), home)


def without_edit_cycles(written: Campaign, home: Home, start: int) -> Campaign:
    """The campaign for a run from round `start` that a person asks for: all rounds of campaign.yaml, in the newest
    retraining cycle.

    Raises `ConfigError` for a later round while an edit cycle is current, because round 1 is that cycle's.
    """
    found = contexts(written, home)
    if start > 1 and found and found[-1].edit is not None:
        raise ConfigError(
            f"round_{start}: {written.name} is in edit cycle {found[-1].number}, which has one round; "
            f"`rft run {written.name} --from round_1` leaves it and makes all rounds again"
        )
    retrained = [cycle for cycle in found if cycle.edit is None]
    return in_cycle(written, retrained[-1]) if retrained else written


def leave_edit_cycles(written: Campaign, home: Home, start: int) -> Campaign:
    """The same, and the edit cycles after the newest retraining cycle are withdrawn."""
    campaign = without_edit_cycles(written, home, start)
    for cycle in reversed(contexts(written, home)):
        if cycle.edit is None:
            break
        withdraw(cycle)
    return campaign
