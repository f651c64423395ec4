"""The Dagster definitions with sensors that look every ten seconds, for tests that wait for one."""

from assets import automation

automation.SECONDS_BETWEEN_TICKS = 10

from assets.definitions import defs, job  # noqa: E402

__all__ = ["defs", "job"]
