"""A cron expression that is accepted is one that Dagster takes: it refuses a whole code location for another."""

import itertools
from datetime import UTC, datetime

import pytest
from dagster._utils.schedules import cron_string_iterator, is_valid_cron_schedule
from pydantic import ValidationError

from rft_pipeline.campaign import Schedule

DAYS = ("*", "1", "31", "L", "LW", "1,15", "1-5", "*/2", "L,1", "?", "15W")
MONTHS = ("*", "2", "FEB", "JUL", "1-6/2")
WEEKDAYS = ("*", "1", "MON", "FRI#1", "5#2", "5L", "FRIL", "L5", "1-5", "7", "5#2,1", "1,5L", "MON-FRI")


def accepted(cron: str) -> bool:
    try:
        Schedule.model_validate({"cron": cron})
    except ValidationError:
        return False
    return True


def test_what_is_accepted_dagster_takes() -> None:
    crons = [f"0 3 {' '.join(fields)}" for fields in itertools.product(DAYS, MONTHS, WEEKDAYS)]
    taken = [cron for cron in crons if accepted(cron)]
    assert len(taken) > 100
    assert [cron for cron in taken if not is_valid_cron_schedule(cron)] == []


def ticks(cron: str) -> list[datetime]:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return list(itertools.islice(cron_string_iterator(start.timestamp(), cron, "UTC"), 12))


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("0 3 * * 1-1", "0 3 * * 1"),
        ("0 3 * * mon-mon", "0 3 * * 1"),
        ("0 3 * * 7-7", "0 3 * * 0"),
        ("0 3-3 * * *", "0 3 * * *"),
        ("5-5 3 * * *", "5 3 * * *"),
        ("0 3 5-5,10-12 * *", "0 3 5,10,11,12 * *"),
        ("0 3 1 5-5 *", "0 3 1 5 *"),
        ("0 3 * * 5-7", "0 3 * * 0,5,6"),
        ("0 3 * * */2", "0 3 * * 0,2,4,6"),
    ],
)
def test_dagster_ticks_when_the_words_say(written: str, means: str) -> None:
    schedule = Schedule.model_validate({"cron": written})
    assert schedule.cron is not None
    assert ticks(schedule.cron) == ticks(means)


@pytest.mark.parametrize("cron", ["0 3 */2 * 1", "0 3 1 * */2", "0 3 1 * 5#2", "0 3 * * 1/2"])
def test_what_cron_programs_read_differently_is_refused(cron: str) -> None:
    with pytest.raises(ValidationError, match="cron programs disagree"):
        Schedule.model_validate({"cron": cron})


@pytest.mark.parametrize("cron", ["0 3 LW * *", "0 3 * * 5L"])
def test_the_last_weekday_is_refused_by_name(cron: str) -> None:
    with pytest.raises(ValidationError, match=f"'{cron.replace('*', '.')}'.* Dagster supports neither"):
        Schedule.model_validate({"cron": cron})
