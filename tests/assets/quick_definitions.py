"""The Dagster definitions with sensors that look every two seconds, for tests that wait for one."""

from assets import automation

automation.SECONDS_BETWEEN_TICKS = 2

from assets.definitions import defs, job  # noqa: E402

__all__ = ["defs", "job"]
