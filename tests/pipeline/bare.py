"""Stages without MLflow and with empty pictures: together they take a third of a small campaign's time.

Tests that look at MLflow or at pictures are marked `shown`.
"""

import pytest
import vl_convert

from rft_pipeline.pipeline import runner
from rft_pipeline.pipeline.outcomes import Outcome
from rft_pipeline.report import plots
from rft_pipeline.store import Record


class NoTracker:
    """Stands for MLflow."""

    dagster_run_id = None
    run_id = None

    def __init__(self, *_: object) -> None:
        pass

    def log_step(self, step: int, metrics: dict[str, float]) -> None:
        pass

    def log_record(self, record: Record) -> None:
        pass

    def log_outcome(self, outcome: Outcome) -> None:
        pass


@pytest.fixture(autouse=True)
def bare(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("shown") is None:
        monkeypatch.setattr(runner, "Tracker", NoTracker)
        monkeypatch.setattr(plots, "drawn", lambda spec: "<svg></svg>")
        monkeypatch.setattr(vl_convert, "svg_to_png", lambda svg: b"")
