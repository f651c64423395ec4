"""Settings of schedules, retraining, prices and asset checks."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, field_validator, model_validator

from rft_pipeline.campaign.prompts import RowFormat
from rft_pipeline.strict import Spelled, Strict
from rft_pipeline.user_code import Code


class Checks(Strict):
    """Asset-check thresholds."""

    max_unscored_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Largest share of judgements that may fail."""
    max_truncated_share: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Largest share of replies that may be cut off."""


_ONE_VALUE = re.compile(r"\b(\w+)-\1\b")
"""A range of one value (5-5), which Dagster reads as every value."""


def _is_cron(cron: str) -> str:
    cron = _ONE_VALUE.sub(r"\1", cron.upper())
    if len(cron.split()) != 5:
        raise ValueError(f"{cron!r} has {len(cron.split())} fields; a cron expression has five, e.g. '0 3 * * 1'")
    try:
        CronSim(cron, datetime(2000, 1, 1))
    except CronSimError as error:
        raise ValueError(f"{cron!r} is not a cron expression: {error}; e.g. '0 3 * * 1'") from error
    _, _, day, month, weekday = cron.upper().split()
    if day in ("30", "31") and month in ("2", "FEB"):
        raise ValueError(f"{cron!r}: February has no day {day}; use e.g. '0 3 L 2 *'")
    if "#" in weekday and "," in weekday:
        raise ValueError(f"{cron!r}: Dagster accepts a weekday like 5#2 only alone, not in a list; e.g. '0 3 * * 5#2'")
    if day != "*" and ("#" in weekday or (weekday != "*" and "*" in day[:1] + weekday[:1])):
        raise ValueError(
            f"{cron!r}: cron programs disagree on a day of the month together with a day of the week; use "
            "one of the two, or two lists like '0 3 1,15 * 1,5'"
        )
    if any("/" in each and "-" not in each and each[0] != "*" for each in weekday.split(",")):
        raise ValueError(
            f"{cron!r}: cron programs disagree on where {weekday} ends; list the days, e.g. '0 3 * * 1,3,5'"
        )
    if "W" in day or "L" in weekday:
        raise ValueError(f"{cron!r}: Dagster supports neither LW nor 5L; use e.g. '0 3 L * *' or '0 3 * * 1'")
    return cron


def _is_time_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is not a time zone; use a name like 'Europe/Berlin' or 'UTC'")
    return name


Cron = Annotated[str, AfterValidator(_is_cron)]
"""Minute, hour, day of month, month, day of week: `0 3 * * 1` is every Monday at three."""
TimeZone = Annotated[str, AfterValidator(_is_time_zone)]


def _is_glob(logs: str) -> str:
    parts = Path(logs).parts
    if wrong := [part for part in parts if "**" in part and part != "**"]:
        raise ValueError(
            f"{logs!r}: {wrong[0]!r} is not valid in a glob: ** must be a whole part, as in 'logs/**/*.jsonl'"
        )
    if parts[-1:] == ("**",):
        raise ValueError(f"{logs!r} matches folders only; name the folder itself, or files as in 'logs/**/*.jsonl'")
    return logs


COUNTRY = Spelled(r"[A-Z]{2}", "two capital letters (ISO 3166), e.g. DE")
PersonalData = Literal["email", "card", "phone"]
FEEDBACK_COLUMNS = ("feedback", "time", "prompt", "reply")


class InteractionLogs(Strict):
    """Where interaction logs are, and what of them must not be used."""

    logs: Annotated[str, Field(min_length=1), AfterValidator(_is_glob)]
    """A folder or glob of .jsonl, .json, .csv and .parquet files, below the campaign's folder."""
    format: RowFormat | None = None
    """The format of their rows; default: recognised, for each file."""
    opt_out: str | None = None
    """The field of the logs that is true for rows that must not be used."""
    redact: tuple[PersonalData, ...] = ("email", "card", "phone")
    """Replaced by <email>, <card>, <phone> before anything is written; `[]` for none."""
    redact_with: Code | None = None
    """`module:function` in the campaign's folder, text → text, applied in addition."""
    phone_regions: tuple[Annotated[str, COUNTRY], ...] = ("US", "GB", "DE")
    """Countries whose phone numbers are found without their prefix. Numbers with a prefix are always found."""


class Retrain(InteractionLogs):
    """Retraining cycles: the campaign's rounds again, from the champion, on prompts from new interaction logs."""

    cron: Cron
    time_zone: TimeZone = "UTC"
    prompts: int = Field(default=200, ge=1)
    """Maximum number of prompts per cycle."""
    old_share: float = Field(default=0.25, ge=0, lt=1)
    """Share of prompts that an earlier cycle already found in the logs."""


class Feedback(InteractionLogs):
    """Feedback of users in interaction logs, which the audit compares with the judges. `rft labels import CAMPAIGN
    --from logs` reads it."""

    columns: dict[str, str]
    """Our name → the column of the logs, or the place inside an object (`metadata.thumbs`): `feedback` is needed;
    `time` for weeks; `prompt` and `reply` where the format of the logs does not say where they are."""
    scale: tuple[float, float] | None = None
    """The lowest and the highest rating, e.g. [1, 5]. Null: thumbs, as words, true and false, or numbers from 0
    to 1."""
    sample: int = Field(default=200, ge=1)
    """Maximum number of different replies that are kept for the judges and for people, drawn by the seed."""

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(set(columns) - set(FEEDBACK_COLUMNS)):
            raise ValueError(f"cannot map {', '.join(unknown)}: our columns are {', '.join(FEEDBACK_COLUMNS)}")
        if "feedback" not in columns:
            raise ValueError("does not say which column has the feedback, e.g. {feedback: thumbs}")
        return columns

    @field_validator("scale")
    @classmethod
    def _rises(cls, scale: tuple[float, float] | None) -> tuple[float, float] | None:
        if scale is not None and scale[0] >= scale[1]:
            raise ValueError(f"the lowest rating {scale[0]:g} must be below the highest {scale[1]:g}")
        return scale


class Schedule(Strict):
    """When the Dagster daemon runs the campaign."""

    cron: Cron | None = None
    """When to run the stages that are not up to date."""
    time_zone: TimeZone = "UTC"
    retrain: Retrain | None = None

    @model_validator(mode="after")
    def _has_a_time(self) -> Self:
        if self.cron is None and self.retrain is None:
            raise ValueError("needs `cron`, `retrain` or both")
        return self


class Prices(Strict):
    """Prices for the cost estimates of plans."""

    machine_hour: float = Field(default=0.0, ge=0)
    currency: str = "USD"
