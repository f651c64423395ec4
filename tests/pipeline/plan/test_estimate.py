"""Seconds of a stage, from the rates of earlier runs."""

import pytest

from rft_pipeline.pipeline.plan.estimate import Rates
from rft_pipeline.stages.counting import Work

RATES = Rates({"rollouts": 0.5, "steps": 3.0}, {"rollouts": 2.0, "checkpoints": 1.0, "prompts": 0.1})


@pytest.mark.parametrize(
    ("stage", "make", "seconds"),
    [
        ("rollouts", {"rollouts": 64}, 34.0),
        ("checkpoints", {"steps": 4}, 13.0),
        ("prompts", {"prompts": 1}, 0.1),
        ("rollouts", {"rollouts": 64, "judgements of polite": 64}, None),
        ("eval_reports", {"rollouts": 1}, None),
    ],
)
def test_rows_take_their_rate_and_a_stage_its_overhead(stage: str, make: dict[str, int], seconds: float | None) -> None:
    assert RATES.seconds(stage, Work(make)) == seconds
