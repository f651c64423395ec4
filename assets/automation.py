"""Runs that nobody starts by hand: a sensor that notices edited files, and the schedules of campaign.yaml."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property

import dagster as dg

from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.campaign.cycles import cycle_of, load_current, newest
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.table import HELD_OUT_LABELS
from rft_pipeline.pipeline.plan import Settled, settle
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.runs import dead_runs
from rft_pipeline.stages.graph import node, nodes, payload
from rft_pipeline.stages.labels import NO_LABELS
from rft_pipeline.store import Home, RecordStore

LOOK_EVERY = 30
"""Seconds between two looks at the files."""

WATCHED = ("rubric", "prompts", "labels")
ANCHORS, HELD_OUT = "anchors", "labels of held-out replies"
"""Watched too: the anchors' labels, where they decide how far a judge trains, and what only the promotion reads."""


def changes_sensor(campaign: Campaign) -> dg.SensorDefinition:
    """Notices by content that the rubric, a prompts file, people's labels or the anchors' changed, and makes again what
    follows.

    One run a change: the cursor holds the content that was seen and how often it changed, the run's key both, so a
    daemon that is stopped between launching and remembering launches nothing twice. A comment is no change.
    """

    @dg.sensor(
        name=f"{campaign.name}_changes",
        job_name=campaign.name,
        minimum_interval_seconds=LOOK_EVERY,
        description="Runs what an edited rubric, prompts file or label makes necessary, once an edit.",
    )
    def _changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        dead_runs.mark_failed(context.instance)
        look = _Look(campaign.name)
        content, in_force = look.content(), look.in_force()
        seen = _Seen.read(context.cursor) or _Seen(in_force or content, 0)
        changed = [name for name in content if content[name] != seen.content.get(name)]
        if not changed or content == in_force:
            first = "" if in_force else "; the first run is started by hand"
            watched = ", ".join(name for name in content if name != HELD_OUT)  # labels, in short
            return _nothing(f"{watched} are as they were{first}", _Seen(content, seen.changes))
        if {*changed} <= {"rubric", "labels"} and look.campaign.on_rubric_change == "off":
            return _nothing(f"{' and '.join(changed)} changed; on_rubric_change is off", _Seen(content, seen.changes))
        if dead_runs.is_running(context.instance, campaign.name):
            return dg.SensorResult(skip_reason=f"{', '.join(changed)} changed; a run of {campaign.name} goes on first")
        now = _Seen(content, seen.changes + 1)
        request = look.request(f"{now.changes}:{fingerprint(content)}", f"{' and '.join(changed)} changed")
        return dg.SensorResult(run_requests=[request], cursor=now.write())

    return _changes


def campaign_schedules(campaign: Campaign) -> list[dg.ScheduleDefinition]:
    """Those that `schedule` in campaign.yaml asks for."""
    schedule = campaign.schedule
    if schedule is None:
        return []
    found = []
    if schedule.cron is not None:
        found.append(_cron_schedule(campaign, "schedule", schedule.cron, schedule.time_zone, _run_what_is_to_be_made))
    if schedule.retrain is not None:
        retrain = schedule.retrain
        found.append(_cron_schedule(campaign, "retrain", retrain.cron, retrain.time_zone, _run_a_cycle))
    return found


def _cron_schedule(campaign: Campaign, what: str, cron: str, time_zone: str, tick: "_Tick") -> dg.ScheduleDefinition:
    """Ticks at the times campaign.yaml names, unless a run of the campaign goes on."""

    @dg.schedule(
        name=f"{campaign.name}_{what}",
        job_name=campaign.name,
        cron_schedule=cron,
        execution_timezone=time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=tick.__doc__,
    )
    def _schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        dead_runs.mark_failed(context.instance)
        if dead_runs.is_running(context.instance, campaign.name):
            return dg.SkipReason(f"a run of {campaign.name} is going on")
        return tick(campaign.name, context.scheduled_execution_time.isoformat())

    return _schedule


_Tick = Callable[[str, str], dg.RunRequest | dg.SkipReason]
"""A campaign's name and the run's key → what is to be done."""


def _run_what_is_to_be_made(campaign: str, key: str) -> dg.RunRequest | dg.SkipReason:
    """Runs the campaign when there is something to make."""
    look = _Look(campaign)
    return look.request(key, "scheduled") if look.something_to_make() else dg.SkipReason("every stage is up to date")


def _run_a_cycle(campaign: str, key: str) -> dg.RunRequest | dg.SkipReason:
    """Draws prompts from fresh logs and runs the campaign on them from its champion. Where nothing is new, goes on with
    a cycle that was interrupted, or rests."""
    from rft_pipeline.pipeline.retraining import begin

    home = Home.find()
    logs = begin(load_campaign(home.campaign_folder(campaign)), home)
    cycle = newest(home, campaign)
    if cycle is None:
        return dg.SkipReason(str(logs.waits))
    if logs.waits is not None and cycle.finished:
        return dg.SkipReason(logs.waits)
    told = logs.summary if logs.waits is None else f"was interrupted and goes on; {logs.waits}"
    return _Look(campaign).request(key, f"retraining, cycle {cycle.number}: {told}")


class _Look:
    """One look at a campaign's files and records."""

    def __init__(self, name: str) -> None:
        self.home = Home.find()
        self.campaign = load_current(self.home, name)
        self.records = RecordStore(self.home.store)
        self.sources = source_hashes(self.campaign, self.home, fetch=False)

    def content(self) -> dict[str, str]:
        """What is watched, as its records would be named now; of the audit, all labels."""
        found = {
            name: fingerprint(payload(self.campaign, node(self.campaign, name), {}, self.sources)) for name in WATCHED
        }
        found[HELD_OUT] = self.sources.get(HELD_OUT_LABELS, NO_LABELS)
        return found if self.campaign.audit is None else {**found, ANCHORS: self.sources["anchors"]}

    def in_force(self) -> dict[str, str] | None:
        """The same of the last run; none before the first."""
        records = {name: self.records.current(f"{self.campaign.name}/{name}") for name in WATCHED}
        found = {name: record.fingerprint for name, record in records.items() if record is not None}
        promoted = self.records.current(f"{self.campaign.name}/promotion")
        if promoted is not None:
            found[HELD_OUT] = promoted.payload["inputs"].get(HELD_OUT_LABELS, NO_LABELS)
        elif found.keys() == {*WATCHED}:  # a campaign that runs in part, or was killed: nothing read them
            found[HELD_OUT] = self.content()[HELD_OUT]
        audited = self.records.current(f"{self.campaign.name}/judge_audit")
        if self.campaign.audit is not None and audited is not None:
            found[ANCHORS] = audited.payload["inputs"]["anchors"]
        return found if found.keys() == self.content().keys() else None

    @cached_property
    def settled(self) -> Settled:
        return settle(self.campaign, self.records, self.sources)

    def something_to_make(self) -> bool:
        return any(each.cause for each in self.settled.plans)

    def request(self, key: str, reason: str) -> dg.RunRequest:
        """A run of the sources and of the rounds that are not kept."""
        start = self.settled.first_round
        wanted = [each.key for each in nodes(self.campaign) if each.round == 0 or each.round >= start]
        cycle = cycle_of(self.campaign, self.home)
        return dg.RunRequest(
            run_key=key,
            asset_selection=[dg.AssetKey(each.split("/")) for each in wanted],
            tags={"rft/campaign": self.campaign.name, "rft/reason": reason, "rft/first_round": str(start)}
            | ({} if cycle is None else cycle.tags),
        )


def _nothing(why: str, now: "_Seen") -> dg.SensorResult:
    return dg.SensorResult(skip_reason=why, cursor=now.write())


@dataclass(frozen=True)
class _Seen:
    """What the sensor remembers."""

    content: dict[str, str]
    changes: int

    @staticmethod
    def read(cursor: str | None) -> "_Seen | None":
        return _Seen(**json.loads(cursor)) if cursor else None

    def write(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)
