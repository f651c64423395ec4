"""How a campaign runs by itself, what that costs, and when a check raises a hand."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, model_validator

from rft_pipeline.strict import Strict
from rft_pipeline.user_code import Code


class Checks(Strict):
    """Where the asset checks raise a hand."""

    max_unscored_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    max_truncated_share: Annotated[float, Field(ge=0, le=1)] = 0.9


_ONE_VALUE = re.compile(r"\b(\w+)-\1\b")
"""A range of one value, which Dagster takes for every value."""


def _is_cron(cron: str) -> str:
    cron = _ONE_VALUE.sub(r"\1", cron.upper())
    if len(cron.split()) != 5:
        raise ValueError(f"{cron!r} has {len(cron.split())} fields; a cron expression has five, e.g. '0 3 * * 1'")
    try:
        CronSim(cron, datetime(2000, 1, 1))
    except CronSimError as error:
        raise ValueError(f"{cron!r} is no cron expression: {error}; e.g. '0 3 * * 1'") from error
    _, _, day, month, weekday = cron.upper().split()
    if day in ("30", "31") and month in ("2", "FEB"):
        raise ValueError(f"{cron!r}: February has no day {day}; use e.g. '0 3 L 2 *'")
    if "#" in weekday and "," in weekday:
        raise ValueError(f"{cron!r}: Dagster takes a weekday like 5#2 alone, not in a list; e.g. '0 3 * * 5#2'")
    if day != "*" and ("#" in weekday or (weekday != "*" and "*" in day[:1] + weekday[:1])):
        raise ValueError(
            f"{cron!r}: cron programs differ on what a day of the month and a day of the week mean together here; use "
            "one of the two, or two lists like '0 3 1,15 * 1,5'"
        )
    if any("/" in each and "-" not in each and each[0] != "*" for each in weekday.split(",")):
        raise ValueError(f"{cron!r}: cron programs differ on where {weekday} ends; list the days, e.g. '0 3 * * 1,3,5'")
    if "W" in day or "L" in weekday:
        raise ValueError(
            f"{cron!r}: Dagster knows no last weekday, neither LW nor 5L; use e.g. '0 3 L * *' or '0 3 * * 1'"
        )
    return cron


def _is_time_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no time zone; use a name like 'Europe/Berlin' or 'UTC'")
    return name


Cron = Annotated[str, AfterValidator(_is_cron)]
"""Minute, hour, day of month, month, day of week: `0 3 * * 1` is every Monday at three."""
TimeZone = Annotated[str, AfterValidator(_is_time_zone)]


def _is_glob(logs: str) -> str:
    parts = Path(logs).parts
    if wrong := [part for part in parts if "**" in part and part != "**"]:
        raise ValueError(f"{logs!r}: {wrong[0]!r} is no part of a glob: ** stands alone, as in 'logs/**/*.jsonl'")
    if parts[-1:] == ("**",):
        raise ValueError(f"{logs!r} names folders only; name the folder itself, or files as in 'logs/**/*.jsonl'")
    return logs


PersonalData = Literal["email", "card", "phone"]


class Retrain(Strict):
    """Cycles: from the champion, on prompts drawn from fresh interaction logs, the campaign's rounds once more."""

    cron: Cron
    time_zone: TimeZone = "UTC"
    logs: Annotated[str, Field(min_length=1), AfterValidator(_is_glob)]
    """A folder or a glob beside campaign.yaml, of .jsonl, .csv and .parquet files with `messages` or `prompt`."""
    prompts: int = Field(default=200, ge=1)
    """Prompts of a cycle, at most."""
    old_share: float = Field(default=0.25, ge=0, lt=1)
    """Share of them that were in the logs at an earlier cycle already."""
    opt_out: str | None = None
    """The logs' field that is true where nobody may train on a row."""
    redact: tuple[PersonalData, ...] = ("email", "card", "phone")
    """Replaced by <email>, <card>, <phone> before anything is written; `[]` for none."""
    redact_with: Code | None = None
    """`module:function` beside campaign.yaml, text → text, applied as well."""
    phone_regions: tuple[Annotated[str, Field(pattern="^[A-Z]{2}$")], ...] = ("US", "GB", "DE")
    """Countries whose phone numbers are known without their prefix; those with a prefix are known from everywhere."""


class Schedule(Strict):
    """When a daemon runs the campaign by itself."""

    cron: Cron | None = None
    """Runs what has to be made."""
    time_zone: TimeZone = "UTC"
    retrain: Retrain | None = None

    @model_validator(mode="after")
    def _has_a_time(self) -> Self:
        if self.cron is None and self.retrain is None:
            raise ValueError("needs `cron`, `retrain`, or both")
        return self


class Prices(Strict):
    """What running costs, for the estimates of plans."""

    machine_hour: float = Field(default=0.0, ge=0)
    currency: str = "USD"
