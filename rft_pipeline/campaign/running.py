"""How a campaign runs by itself, what that costs, and when a check raises a hand."""

from datetime import datetime
from typing import Annotated
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator

from rft_pipeline.strict import Strict


class Checks(Strict):
    """Where the asset checks raise a hand."""

    max_unscored_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    max_truncated_share: Annotated[float, Field(ge=0, le=1)] = 0.9


class Schedule(Strict):
    """When a daemon runs the campaign by itself."""

    cron: str
    """Minute, hour, day of month, month, day of week: `0 3 * * 1` is every Monday at three."""
    time_zone: str = "UTC"

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        if len(cron.split()) != 5:
            raise ValueError(f"{cron!r} has {len(cron.split())} fields; a cron expression has five, e.g. '0 3 * * 1'")
        try:
            CronSim(cron, datetime(2000, 1, 1))
        except CronSimError as error:
            raise ValueError(f"{cron!r} is no cron expression: {error}; e.g. '0 3 * * 1'") from error
        return cron

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, time_zone: str) -> str:
        if time_zone not in available_timezones():
            raise ValueError(f"{time_zone!r} is no time zone; use a name like 'Europe/Berlin' or 'UTC'")
        return time_zone


class Prices(Strict):
    """What running costs, for the estimates of plans."""

    machine_hour: float = Field(default=0.0, ge=0)
    currency: str = "USD"
