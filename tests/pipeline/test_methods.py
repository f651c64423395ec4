"""Each method of training as a stage: what it leaves, and what an edit of it makes again."""

from pathlib import Path

import pytest

from rft_pipeline.errors import GateError
from tests.runs import edit, made, run

BEFORE = ["prompts", "rubric", "policy", "round_1/rollouts", "round_1/judge_scores", "round_1/reward_batches"]
CHECKPOINT = "round_1/checkpoints"


def test_another_method_trains_on_the_same_batch_and_its_own_settings_count(tiny_campaign: Path) -> None:
    file = tiny_campaign / "campaign.yaml"
    edit(file, "training.method", "raft")
    first = run(tiny_campaign, [*BEFORE, CHECKPOINT])
    assert first[CHECKPOINT].rows["steps"] == 1  # the best of four groups at most, in steps of eight
    assert {"loss", "token_accuracy"} <= set(first[CHECKPOINT].metrics)
    edit(file, "training.dpo.beta", 0.2)
    assert made(run(tiny_campaign, [*BEFORE, CHECKPOINT])) == []
    edit(file, "training.method", "dpo")
    edit(file, "training.dpo.margin", 0.0)
    second = run(tiny_campaign, [*BEFORE, CHECKPOINT])
    assert made(second) == [CHECKPOINT]
    assert second[CHECKPOINT].content_hash != first[CHECKPOINT].content_hash
    assert "preference_margin" in second[CHECKPOINT].metrics
    # neither reads the sampling temperature: the batch does
    assert "temperature" not in second[CHECKPOINT].payload["settings"]
    edit(file, "training.method", "sft")
    with pytest.raises(GateError, match="no prompt has the field 'reference'"):
        run(tiny_campaign, [CHECKPOINT])
