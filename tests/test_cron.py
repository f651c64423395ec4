"""A cron expression that is accepted is one that Dagster takes: it refuses a whole code location for another."""

import itertools

import pytest
from dagster._utils.schedules import is_valid_cron_schedule
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


@pytest.mark.parametrize("cron", ["0 3 LW * *", "0 3 * * 5L"])
def test_the_last_weekday_is_refused_by_name(cron: str) -> None:
    with pytest.raises(ValidationError, match=f"'{cron.replace('*', '.')}'.* Dagster knows no last weekday"):
        Schedule.model_validate({"cron": cron})
