"""Where a campaign stands: champion, last run, what is stale, schedules, labels, pages. Nothing is run."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import polars as pl
from cronsim import CronSim

from rft_pipeline.audit.stored import audited_in
from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.errors import RftError
from rft_pipeline.labels.exports import came_back, exports_of
from rft_pipeline.labels.pairs import pair_exports_of
from rft_pipeline.pipeline.continuing import standing
from rft_pipeline.pipeline.edit_plan import plan_edit
from rft_pipeline.pipeline.outcomes import outcome
from rft_pipeline.pipeline.plan import Step, plan
from rft_pipeline.promotion.in_brief import in_brief
from rft_pipeline.report.published import PAGES, numbers_of
from rft_pipeline.report.timeline import last_alarm
from rft_pipeline.runs.last import LastRun, last_run
from rft_pipeline.stages.promotion import decision_of
from rft_pipeline.store import Home, RecordStore, champions, preferences_table

if TYPE_CHECKING:
    from dagster import DagsterInstance

Found = TypeVar("Found")


@dataclass(frozen=True)
class ChampionStatus:
    """The champion of a campaign."""

    round: int
    record: str
    """Address of the checkpoint."""
    since: str
    """ISO 8601, UTC."""
    forced: bool
    """Whether a person promoted it against the evidence."""
    reward: float | None
    """Mean held-out reward, with its 95 % interval, in the report of its promotion; null if that report is gone."""
    lower95: float | None
    upper95: float | None


@dataclass(frozen=True)
class Decided:
    """What the newest promotion decided."""

    promoted: int | None
    """The round that became the champion; null for none."""
    why: str
    """In a few words."""


@dataclass(frozen=True)
class AlarmStatus:
    """What the alarms say of the newest report's last round."""

    round: int
    level: str
    """ok, warn or stop."""
    causes: list[str]
    """The alarms with that level, in words."""


@dataclass(frozen=True)
class StaleStage:
    """A stage that `rft run` would make."""

    key: str
    reasons: list[str]


@dataclass(frozen=True)
class Tick:
    """The next time of a schedule. The daemon that `rft ui` starts runs it."""

    what: str
    """`run` what is stale, or `retrain` on new logs."""
    at: str
    """ISO 8601, in the schedule's time zone."""
    stopped: bool
    """Whether somebody switched the schedule off in Dagster."""


@dataclass(frozen=True)
class CampaignStatus:
    """Where one campaign stands. What cannot be read is null, and `errors` says why."""

    campaign: str
    errors: list[str] = field(default_factory=list)
    champion: ChampionStatus | None = None
    last_run: LastRun | None = None
    decided: Decided | None = None
    alarms: AlarmStatus | None = None
    """Null without a report, and where no alarms are configured."""
    stages: int = 0
    """Of the next run."""
    edit: str | None = None
    """After an edit that the campaign continues from: what the next run does, in one line."""
    stale: list[StaleStage] = field(default_factory=list)
    next: list[Tick] = field(default_factory=list)
    labels_wanted: list[str] = field(default_factory=list)
    """What people were asked and did not answer yet, and what the audit needs, in words."""
    pages: dict[str, str] = field(default_factory=dict)
    """Title → address of the file."""


def status_of(home: Home, name: str, instance: "DagsterInstance | None") -> CampaignStatus:
    """An error of one part leaves the other parts readable."""
    errors: list[str] = []

    def known(read: Callable[[], Found]) -> Found | None:
        try:
            return read()
        except RftError as error:
            if str(error) not in errors:
                errors.append(str(error))
            return None

    found: dict[str, Any] = {
        "champion": known(lambda: _champion(home, name)),
        "last_run": None if instance is None else known(lambda: last_run(instance, home, name)),
        "decided": known(lambda: _decided(home, name)),
        "alarms": _alarms(home, name),
        "labels_wanted": known(lambda: list(_labels_wanted(home, name))) or [],
        "pages": _pages(home, name),
    }
    written = known(lambda: load_campaign(home.campaign_folder(name)))
    if written is not None:
        found["next"] = list(_ticks(written, instance))
        found |= known(lambda: _stale(written, home)) or {}
    return CampaignStatus(name, errors, **found)


def _champion(home: Home, name: str) -> ChampionStatus | None:
    known = champions.history(home.root, name)
    now = champions.current(known)
    if now is None:
        return None
    report = RecordStore(home.store).at(champions.promotion_of(known, now).report)
    rounds = [] if report is None else json.loads(report.path("report.json").read_text(encoding="utf-8"))["rounds"]
    numbers: dict[str, Any] = next((each for each in rounds if each["round"] == now.round), {})
    measured = {key: numbers.get(key) for key in ("reward", "lower95", "upper95")}
    return ChampionStatus(now.round, now.record, now.when, now.forced, **measured)


def _decided(home: Home, name: str) -> Decided | None:
    record = RecordStore(home.store).current(f"{name}/promotion")
    if record is None:
        return None
    became, decided = outcome(home, record), decision_of(record)
    if became.promoted is not None:
        return Decided(became.promoted, "passed every bound")
    if became.stays is not None:
        return Decided(None, "another champion stays")
    return Decided(None, in_brief(decided))


def _alarms(home: Home, name: str) -> AlarmStatus | None:
    found = numbers_of(home.reports, name)
    verdicts = [] if found is None else json.loads(found).get("alarms", {}).get("verdicts", [])
    if not verdicts:
        return None
    fired = last_alarm(verdicts)
    return AlarmStatus(verdicts[-1]["round"], verdicts[-1]["level"], [] if fired is None else list(fired.causes))


def _stale(written: Campaign, home: Home) -> dict[str, Any]:
    """By the resolver of `rft plan`."""
    found = standing(written, home)
    edit = plan_edit(found, home)
    plans = [plan(found.campaign, home)] if edit is None else [edit.reports, edit.cycle]
    steps: list[Step] = [step for each in plans for step in each.steps if step.key in each.keys]
    stale = [StaleStage(step.key, step.reasons) for step in steps if step.action == "run"]
    return {"stages": len(steps), "stale": stale, "edit": None if edit is None else edit.summary}


def _ticks(campaign: Campaign, instance: "DagsterInstance | None") -> Iterator[Tick]:
    schedule = campaign.schedule
    if schedule is None:
        return
    times = {"run": (schedule.cron, schedule.time_zone, "schedule")}
    if schedule.retrain is not None:
        times["retrain"] = (schedule.retrain.cron, schedule.retrain.time_zone, "retrain")
    for what, (cron, time_zone, suffix) in times.items():
        if cron is not None:
            at = next(CronSim(cron, datetime.now(UTC).astimezone(ZoneInfo(time_zone))))
            yield Tick(what, at.isoformat(timespec="minutes"), _is_stopped(f"{campaign.name}_{suffix}", instance))


def _is_stopped(schedule: str, instance: "DagsterInstance | None") -> bool:
    states = [] if instance is None else instance.all_instigator_state()
    return any(each.instigator_name == schedule and each.status.value == "STOPPED" for each in states)


def _labels_wanted(home: Home, name: str) -> Iterator[str]:
    """The newest export of each kind without an answer, and criteria without enough labels for an audit."""
    newest = {each.what: each for each in exports_of(name, home.store)}
    for what, export in newest.items():
        if export not in came_back(name, home.store, held_out=export.held_out, logged=export.logged):
            yield f"{export.drawn} {what} were exported on {export.created[:10]} and have no labels yet"
    pairs = pair_exports_of(name, home.store)
    answered = preferences_table(home.store).rows().select(pl.col("batch").unique()).collect()["batch"]
    if pairs and pairs[-1].id not in set(answered):
        yield f"{pairs[-1].drawn} pairs were exported on {pairs[-1].created[:10]} and have no answers yet"
    audit = RecordStore(home.store).current(f"{name}/judge_audit")
    if audit is not None:
        for each in audited_in(audit):
            if each["power"] == "unaudited":
                yield f"audit of {each['criterion']}: {each['reason']}"


def _pages(home: Home, name: str) -> dict[str, str]:
    files = {title: home.reports / f"{name}{suffix}" for suffix, title in PAGES.items()}
    return {title: str(path) for title, path in files.items() if path.is_file()}
