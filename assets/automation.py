"""Automatic runs: a sensor that notices edited files, and the schedules of campaign.yaml."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import dagster as dg

from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.campaign.cycles import cycle_of, load_current, newest
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.decided import TRAIN_PAIRS
from rft_pipeline.labels.feedback import FEEDBACK
from rft_pipeline.labels.preferences import PREFERENCES
from rft_pipeline.labels.table import HELD_OUT_LABELS
from rft_pipeline.pipeline.continuing import Standing, load_and_begin, standing
from rft_pipeline.pipeline.plan import Settled, settle
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.runs import dead_runs
from rft_pipeline.stages.graph import node, payload
from rft_pipeline.stages.labels import NO_LABELS
from rft_pipeline.store import Home, RecordStore

SECONDS_BETWEEN_TICKS = 30

WATCHED = ("rubric", "prompts", "labels")
ANCHORS = "anchors"
"""Watched too, if the campaign audits its judges."""
OF_AUDIT = {"feedback of users": FEEDBACK}
"""Watched too, if the campaign audits its judges: what nothing but the audit reads."""
PREFERRED = "pairs of train prompts"
"""Watched too, if the training reads people's decided pairs."""
OF_PROMOTION = {"labels of held-out replies": HELD_OUT_LABELS, "answers to blind pairs": PREFERENCES}
"""Watched too: what people said and only the promotion reads, with its source."""


def changes_sensor(campaign: Campaign) -> dg.SensorDefinition:
    """Runs what an edit of the rubric, a prompts file, the anchors or people's labels makes stale.

    Contents are compared, so an edited comment is no change. A change starts one run: the cursor holds the content and
    the number of changes so far, and the run's key is made of both, so a daemon that is stopped between launching and
    saving its cursor launches nothing twice.
    """

    @dg.sensor(
        name=f"{campaign.name}_changes",
        job_name=campaign.name,
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        description="Runs what an edit of the rubric, the prompts or the labels makes stale, in one run for each edit.",
    )
    def _changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        dead_runs.mark_failed(context.instance)
        state = _CampaignState(campaign.name)
        content, last_run = state.content(), state.content_of_last_run()
        seen = _Seen.read(context.cursor) or _Seen(last_run or content, 0)
        changed = [name for name in content if content[name] != seen.content.get(name)]
        if seen.continues and not dead_runs.is_running(context.instance, campaign.name):
            return _continue(state, _Seen(content, seen.changes + 1))
        if not changed or (content == last_run and not state.is_stale()):  # an audit alone makes no round
            first = "" if last_run else "; the first run is started by hand"
            said = {**OF_PROMOTION, **OF_AUDIT, PREFERRED: TRAIN_PAIRS}  # `labels` stands for them
            watched = ", ".join(name for name in content if name not in said)
            return _skip(f"{watched} did not change{first}", replace(seen, content=content))
        if dead_runs.is_running(context.instance, campaign.name):
            return dg.SensorResult(skip_reason=f"{', '.join(changed)} changed; a run of {campaign.name} is in progress")
        now = _Seen(content, seen.changes + 1, continues=state.standing.begins is not None)
        if now.continues and state.standing.reports_are_made:
            return _continue(state, replace(now, continues=False))
        request = state.request(now.key, f"{' and '.join(changed)} changed")
        return dg.SensorResult(run_requests=[request], cursor=now.write())

    return _changes


def _continue(state: "_CampaignState", now: "_Seen") -> dg.SensorResult:
    """Begin the edit cycle once the reports of what stands are made."""
    if state.standing.begins is None or not state.standing.reports_are_made:
        return _skip("the reports that come before the edit cycle were not made", now)
    begun = _CampaignState(state.campaign.name, begins=True)
    cycle = begun.standing.cycle
    assert cycle is not None
    assert cycle.edit is not None
    request = begun.request(now.key, f"edit cycle {cycle.number}: {'; '.join(cycle.edit.reasons)}")
    return dg.SensorResult(run_requests=[request], cursor=now.write())


def campaign_schedules(campaign: Campaign) -> list[dg.ScheduleDefinition]:
    """The schedules in campaign.yaml."""
    schedule = campaign.schedule
    if schedule is None:
        return []
    found = []
    if schedule.cron is not None:
        found.append(_cron_schedule(campaign, "schedule", schedule.cron, schedule.time_zone, _run_what_is_stale))
    if schedule.retrain is not None:
        retrain = schedule.retrain
        found.append(_cron_schedule(campaign, "retrain", retrain.cron, retrain.time_zone, _run_a_cycle))
    return found


def _cron_schedule(campaign: Campaign, what: str, cron: str, time_zone: str, tick: "_Tick") -> dg.ScheduleDefinition:
    """Calls `tick` at the times of `cron`, unless a run of the campaign is in progress."""

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
            return dg.SkipReason(f"a run of {campaign.name} is in progress")
        return tick(campaign.name, context.scheduled_execution_time.isoformat())

    return _schedule


_Tick = Callable[[str, str], dg.RunRequest | dg.SkipReason]
"""A campaign's name and a run key → a run, or why there is none."""


def _run_what_is_stale(campaign: str, key: str) -> dg.RunRequest | dg.SkipReason:
    """Runs the campaign if any of its stages is stale; after an edit, the edit cycle."""
    state = _CampaignState(campaign, begins=True)
    return state.request(key, "scheduled") if state.is_stale() else dg.SkipReason("every stage is up to date")


def _run_a_cycle(campaign: str, key: str) -> dg.RunRequest | dg.SkipReason:
    """Draws prompts from new logs and trains on them from the champion. Without new logs, resumes an interrupted cycle
    or does nothing."""
    from rft_pipeline.pipeline.retraining import begin

    home = Home.find()
    drawn = begin(load_campaign(home.campaign_folder(campaign)), home)
    cycle = newest(home, campaign)
    if drawn.refusal is not None and (cycle is None or cycle.finished):
        return dg.SkipReason(drawn.refusal)
    assert cycle is not None
    what = drawn.summary if drawn.refusal is None else f"interrupted, is resumed; {drawn.refusal}"
    return _CampaignState(campaign).request(key, f"retraining, cycle {cycle.number}: {what}")


class _CampaignState:
    """A campaign's files and records as they are now."""

    def __init__(self, name: str, *, begins: bool = False) -> None:
        """With `begins`, the edit cycle that an edit asks for begins."""
        self.home = Home.find()
        self.campaign = load_and_begin(self.home, name) if begins else load_current(self.home, name)
        self.records = RecordStore(self.home.store)
        self.sources = source_hashes(self.campaign, self.home, fetch=False)

    def content(self) -> dict[str, str]:
        """A fingerprint of everything that is watched."""
        found = {
            name: fingerprint(payload(self.campaign, node(self.campaign, name), {}, self.sources)) for name in WATCHED
        }
        found |= {name: self.sources.get(source, NO_LABELS) for name, source in OF_PROMOTION.items()}
        if self.campaign.training.how.reads_pairs:
            found[PREFERRED] = self.sources.get(TRAIN_PAIRS, NO_LABELS)
        if self.campaign.audit is None:
            return found
        of_audit = {name: self.sources.get(source, NO_LABELS) for name, source in OF_AUDIT.items()}
        return {**found, ANCHORS: self.sources["anchors"], **of_audit}

    def content_of_last_run(self) -> dict[str, str] | None:
        """The same for the current records; None before the first run."""
        records = {name: self.records.current(f"{self.campaign.name}/{name}") for name in WATCHED}
        found = {name: record.fingerprint for name, record in records.items() if record is not None}
        promoted = self.records.current(f"{self.campaign.name}/promotion")
        if promoted is not None:
            read = promoted.payload["inputs"]
            found |= {name: read.get(source, NO_LABELS) for name, source in OF_PROMOTION.items()}
        elif found.keys() == {*WATCHED}:  # no promotion was made yet, so no record holds these labels
            content = self.content()
            found |= {name: content[name] for name in OF_PROMOTION}
        batch = self.records.current(f"{self.campaign.name}/round_{self.campaign.rounds}/reward_batches")
        if self.campaign.training.how.reads_pairs and batch is not None:
            found[PREFERRED] = batch.payload["inputs"].get(TRAIN_PAIRS, NO_LABELS)
        audited = self.records.current(f"{self.campaign.name}/judge_audit")
        if self.campaign.audit is not None and audited is not None:
            read = audited.payload["inputs"]
            found |= {ANCHORS: read["anchors"], **{name: read.get(each, NO_LABELS) for name, each in OF_AUDIT.items()}}
        return found if found.keys() == self.content().keys() else None

    @cached_property
    def standing(self) -> Standing:
        return standing(load_campaign(self.home.campaign_folder(self.campaign.name)), self.home)

    @cached_property
    def settled(self) -> Settled:
        return settle(self.standing.campaign, self.records, self.sources)

    def is_stale(self) -> bool:
        """Whether any stage would run."""
        return any(each.cause for each in self.settled.plans)

    def request(self, key: str, reason: str) -> dg.RunRequest:
        """A run of the campaign's sources, its promotion, and the rounds that do not keep what they have; of the
        reports alone if an edit cycle comes after them."""
        wanted = self.settled.keys
        if self.standing.begins is not None:
            wanted = [each.node.key for each in self.standing.reports]
        cycle = cycle_of(self.campaign, self.home)
        return dg.RunRequest(
            run_key=key,
            asset_selection=[dg.AssetKey(each.split("/")) for each in wanted],
            tags={
                "rft/campaign": self.campaign.name,
                "rft/reason": reason,
                "rft/first_round": str(self.settled.first_round),
            }
            | ({} if cycle is None else cycle.tags),
        )


def _skip(why: str, now: "_Seen") -> dg.SensorResult:
    return dg.SensorResult(skip_reason=why, cursor=now.write())


@dataclass(frozen=True)
class _Seen:
    """The sensor's cursor."""

    content: dict[str, str]
    changes: int
    continues: bool = False
    """Whether an edit cycle begins once the requested run of the reports has ended."""

    @property
    def key(self) -> str:
        """The key of a run that is requested now."""
        return f"{self.changes}:{fingerprint(self.content)}"

    @staticmethod
    def read(cursor: str | None) -> "_Seen | None":
        return _Seen(**json.loads(cursor)) if cursor else None

    def write(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)
