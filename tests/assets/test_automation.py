"""What the sensor and the schedule of a campaign decide; test_daemon*.py see a daemon act on it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.schedule_definition import ScheduleExecutionData
from dagster._core.definitions.sensor_definition import SensorExecutionData

from assets.definitions import definitions
from rft_pipeline.store import Home, RecordStore
from tests.assets.small import instance, materialize
from tests.promoted import write_champion
from tests.prompts.test_cycle import ended, log, set_up
from tests.runs import edit

ROUND_2 = {f"tiny/round_2/{s}" for s in ("rollouts", "judge_scores", "reward_batches", "checkpoints", "eval_reports")}
SOURCES = {"tiny/prompts", "tiny/rubric", "tiny/policy", "tiny/labels"}


def look(cursor: str | None) -> SensorExecutionData:
    """One tick of the sensor."""
    sensor = definitions(Home.find()).resolve_sensor_def("tiny_changes")
    with instance() as running, dg.build_sensor_context(instance=running, cursor=cursor) as context:
        return sensor.evaluate_tick(context)


def launched(tick: SensorExecutionData) -> list[tuple[str | None, set[str]]]:
    return [
        (request.tags["rft/reason"], {key.to_user_string() for key in request.asset_selection or []})
        for request in tick.run_requests or []
    ]


def reworded(folder: Path) -> None:
    train = folder / "prompts" / "train.jsonl"
    train.write_text(train.read_text(encoding="utf-8").replace("lamp", "sofa"), encoding="utf-8")


def test_the_first_run_is_not_started_by_the_sensor(tiny_campaign: Path) -> None:
    tick = look(None)
    assert launched(tick) == []
    assert tick.skip_message == "rubric, prompts, labels did not change; the first run is started by hand"


def test_an_edited_rubric_launches_the_last_round_once(finished_copy: Path) -> None:
    before = look(None)
    assert launched(before) == []
    edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 5)
    tick = look(before.cursor)
    assert launched(tick) == [("rubric changed", SOURCES | ROUND_2 | {"tiny/promotion"})]
    assert launched(look(tick.cursor)) == []


def test_an_edit_while_no_daemon_runs_is_noticed_at_the_first_tick(finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 5)
    assert launched(look(None)) == [("rubric changed", SOURCES | ROUND_2 | {"tiny/promotion"})]


def test_a_repeated_tick_requests_the_same_run(finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 5)
    keys = [[request.run_key for request in look(None).run_requests or []] for _ in range(2)]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 1


def test_undoing_an_edit_is_another_change(finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 5)
    there = look(None)
    assert materialize(finished_copy, sorted(SOURCES)).success
    edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 6)
    back = look(there.cursor)
    assert [reason for reason, _ in launched(back)] == ["rubric changed"]
    edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 5)
    assert materialize(finished_copy, sorted(SOURCES)).success
    edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 6)
    keys = {request.run_key for tick in (there, back) for request in tick.run_requests or []}
    assert len(keys) == 2


def test_other_prompts_launch_every_round(finished_copy: Path) -> None:
    before = look(None)
    reworded(finished_copy)
    ((reason, keys),) = launched(look(before.cursor))
    assert reason == "prompts changed"
    assert len(keys) == 15


def test_a_comment_launches_nothing(finished_copy: Path) -> None:
    before = look(None)
    rubric = finished_copy / "rubric.yaml"
    rubric.write_text("# kind and short\n" + rubric.read_text(encoding="utf-8"), encoding="utf-8")
    assert launched(look(before.cursor)) == []


def test_off_launches_the_reports_and_the_promotion_after_an_edit_of_the_rubric(finished_copy: Path) -> None:
    edit(finished_copy / "campaign.yaml", "on_rubric_change", "off")
    edit(finished_copy / "rubric.yaml", "criteria.2.weight", 2)
    reports = {f"tiny/round_{number}/eval_reports" for number in (1, 2)}
    assert launched(look(None)) == [("rubric changed", SOURCES | reports | {"tiny/promotion"})]


def test_a_schedule_runs_stale_stages_and_skips_otherwise(finished_copy: Path) -> None:
    edit(finished_copy / "campaign.yaml", "schedule", {"cron": "0 3 * * 1", "time_zone": "Europe/Berlin"})
    schedule = definitions(Home.find()).resolve_schedule_def("tiny_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 3 * * 1", "Europe/Berlin")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING

    def tick() -> ScheduleExecutionData:
        with instance() as running:
            return schedule.evaluate_tick(dg.build_schedule_context(running, datetime(2026, 1, 5, 3, tzinfo=UTC)))

    assert tick().skip_message == "every stage is up to date"
    edit(finished_copy / "campaign.yaml", "training.epochs", 2)
    (request,) = tick().run_requests or []
    assert len(request.asset_selection or []) == 15


def test_a_retrain_schedule_skips_without_logs_and_runs_a_cycle_with_them(finished_copy: Path) -> None:
    set_up(finished_copy)
    champion = write_champion("tiny/round_2/checkpoints")
    schedule = definitions(Home.find()).resolve_schedule_def("tiny_retrain")
    assert (schedule.cron_schedule, schedule.default_status) == ("0 3 * * 1", dg.DefaultScheduleStatus.RUNNING)

    def tick() -> ScheduleExecutionData:
        with instance() as running:
            return schedule.evaluate_tick(dg.build_schedule_context(running, datetime(2026, 1, 5, 3, tzinfo=UTC)))

    assert tick().skip_message == f"nothing new: no file matches {finished_copy / 'logs/*.jsonl'}"
    log(finished_copy, "monday")
    first, repeated = tick(), tick()
    for asked in (first, repeated):
        (request,) = asked.run_requests or []
        assert (request.tags["rft/cycle"], request.tags["rft/champion"]) == ("1", champion)
        assert len(request.asset_selection or []) == 15
    assert (first.run_requests or [])[0].run_key == (repeated.run_requests or [])[0].run_key


def test_a_finished_cycle_is_not_run_again_and_an_interrupted_one_is_resumed(finished_copy: Path) -> None:
    set_up(finished_copy)
    log(finished_copy, "monday")
    schedule = definitions(Home.find()).resolve_schedule_def("tiny_retrain")

    def tick() -> ScheduleExecutionData:
        with instance() as running:
            return schedule.evaluate_tick(dg.build_schedule_context(running, datetime(2026, 1, 5, 3, tzinfo=UTC)))

    nothing = f"nothing new in {finished_copy / 'logs/*.jsonl'} since cycle 1"
    reasons = [request.tags["rft/reason"] for asked in (tick(), tick()) for request in asked.run_requests or []]
    assert reasons == [
        "retraining, cycle 1: 8 new and 0 old prompts of 12 logged rows",
        f"retraining, cycle 1: interrupted, is resumed; {nothing}",
    ]
    ended()
    edit(finished_copy / "campaign.yaml", "training.epochs", 2)
    assert tick().skip_message == nothing


def test_a_run_is_tagged_with_its_campaign_and_the_promoted_round(finished_home: Path) -> None:
    assert definitions(Home.find()).resolve_job_def("tiny").run_tags["rft/campaign"] == "tiny"
    promotion = RecordStore(Home.find().store).current("tiny/promotion")
    assert promotion is not None
    round_ = int(promotion.metrics["promoted_round"])
    with instance() as running:
        (run,) = running.get_runs()
    assert run.tags["rft/campaign"] == "tiny"
    assert run.tags["rft/promoted"] == (f"round {round_}" if round_ else "none")


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"cron": "0 3 * *"}, "schedule.cron: '0 3 * *' has 4 fields; a cron expression has five"),
        ({"cron": "0 25 * * *"}, "schedule.cron: '0 25 * * *' is not a cron expression: Bad hour"),
        ({"cron": "0 3 * * *", "time_zone": "Mars"}, "schedule.time_zone: 'Mars' is not a time zone"),
    ],
)
def test_an_invalid_schedule_is_refused(tiny_campaign: Path, schedule: dict[str, str], message: str) -> None:
    from rft_pipeline.campaign import load_campaign
    from rft_pipeline.errors import ConfigError

    edit(tiny_campaign / "campaign.yaml", "schedule", schedule)
    with pytest.raises(ConfigError) as refused:
        load_campaign(tiny_campaign)
    assert message in str(refused.value)


def test_the_cursor_is_plain_data(finished_home: Path) -> None:
    cursor = look(None).cursor
    assert cursor is not None
    assert json.loads(cursor)["changes"] == 0
