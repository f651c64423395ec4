"""The Dagster definitions, for tests that wait: sensors look every ten seconds, and a job runs in one process."""

import dagster as dg

from assets import automation
from rft_pipeline.store import Home

automation.SECONDS_BETWEEN_TICKS = 10

from assets.definitions import definitions, job  # noqa: E402

__all__ = ["defs", "job"]

defs = definitions(Home.find(), dg.in_process_executor)
