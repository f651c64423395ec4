"""How a round is shared out among its generations."""

import pytest

from rft_pipeline.campaign.generations import Generations, share_out
from rft_pipeline.trainers.settings import Training


def test_a_generation_has_the_rollouts_of_its_steps() -> None:
    assert share_out(prompts=32, group_size=8, batch_size=16, steps=1) == Generations(16, 2, 1)
    assert share_out(prompts=32, group_size=8, batch_size=16, steps=4) == Generations(4, 8, 4)
    assert share_out(prompts=32, group_size=8, batch_size=4, steps=2) == Generations(32, 1, 2)


@pytest.mark.parametrize(
    ("prompts", "group_size", "batch_size", "steps", "why", "nearest"),
    [
        (
            *(33, 8, 16, 1),
            "2 prompts a generation do not divide rollouts.prompts_per_round of 33",
            "rollouts.prompts_per_round: 32 or 34; or training.batch_size: 8 or 24",
        ),
        (
            *(32, 8, 4, 3),
            "12 rollouts are not whole groups of 8",
            "training.steps_per_generation: 2 or 4",
        ),
        (
            *(24, 8, 16, 5),
            "10 prompts a generation do not divide rollouts.prompts_per_round of 24",
            "rollouts.prompts_per_round: 20 or 30; or training.steps_per_generation: 4 or 6",
        ),
    ],
)
def test_what_does_not_divide_is_refused_with_the_nearest_values_that_do(
    prompts: int, group_size: int, batch_size: int, steps: int, why: str, nearest: str
) -> None:
    with pytest.raises(ValueError, match=r"training.steps_per_generation: ") as refused:
        share_out(prompts, group_size, batch_size, steps)
    assert why in str(refused.value)
    assert str(refused.value).endswith(f"the nearest that fit: {nearest}")


def test_the_round_at_once_is_named_only_where_no_value_near_fits() -> None:
    with pytest.raises(ValueError, match="set it to null, which samples the whole round at once"):
        share_out(prompts=5, group_size=8, batch_size=6, steps=3)


def test_grpo_works_in_generations_of_one_step_unless_told_otherwise() -> None:
    assert Training().steps_per_generation == 1
    assert Training(steps_per_generation=None).steps_per_generation is None


def test_methods_that_cannot_sample_the_round_at_once_and_say_why_when_asked_for_generations() -> None:
    assert Training(method="sft").steps_per_generation is None
    with pytest.raises(ValueError, match=r"steps_per_generation: sft imitates .* remove the key or set it to null"):
        Training(method="sft", steps_per_generation=1)
