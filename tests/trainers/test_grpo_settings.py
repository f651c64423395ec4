"""What the settings of GRPO do to its loss and its steps, on numbers read off the watched loss."""

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from rft_pipeline.campaign import Training
from rft_pipeline.engines.weights import load_weights
from rft_pipeline.errors import GateError
from rft_pipeline.trainers.loss import policy_losses
from tests.architectures import write_model
from tests.trainers.watched import MAX_NEW_TOKENS, Seen, SeenRow, run


def surrogate(seen: SeenRow) -> torch.Tensor:
    """−min(ratio·A, clip(ratio)·A) of each token."""
    ratio, advantage = (seen.new - seen.old).double().exp(), seen.row.advantage
    return -torch.min(ratio * advantage, ratio.clamp(0.8, 1.28) * advantage)


def expected_loss(kind: str, rows: list[SeenRow], round_tokens: int, steps: int) -> float:
    per_token = [surrogate(seen) for seen in rows]
    total = float(sum(each.sum() for each in per_token))
    match kind:
        case "dapo":
            return total / (round_tokens / steps)
        case "grpo":
            return float(sum(each.mean() for each in per_token)) / 8
        case "bnpo":
            return total / sum(len(each) for each in per_token)
        case _:
            return total / (8 * MAX_NEW_TOKENS)


@pytest.mark.parametrize("kind", ["dapo", "grpo", "dr_grpo", "bnpo"])
@pytest.mark.parametrize("micro", [4, 8])
def test_the_loss_averages_tokens_as_its_type_says(
    kind: str, micro: int, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    runtime = {"micro_batch_size": micro, "device": "cpu"}
    seen = run(batch, tiny_model, tmp_path, loss_type=kind, runtime=runtime)
    round_tokens = sum(len(each.new) for step in (1, 2) for each in seen.live(step))
    for step in (1, 2, 3, 4):
        expected = expected_loss(kind, seen.live(step), round_tokens, steps=2)
        assert seen.logged[step]["loss"] == pytest.approx(expected, abs=1e-4)


def test_a_mixture_of_experts_adds_its_own_load_balancing_loss(batch: pl.DataFrame, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", "qwen2-moe")
    seen = run(batch, folder, tmp_path, epochs=1)
    model = load_weights(folder, "float32", "cpu")
    rows, balance = seen.steps[0], 0.0
    for start in (0, 4):  # two passes before the first update
        chosen = [each.row.prompt_tokens + each.row.tokens for each in rows[start : start + 4]]
        length = max(map(len, chosen))
        ids = torch.tensor([tokens + [0] * (length - len(tokens)) for tokens in chosen])
        mask = torch.tensor([[1] * len(tokens) + [0] * (length - len(tokens)) for tokens in chosen])
        with torch.no_grad():
            balance += float(model(ids, attention_mask=mask, output_router_logits=True).aux_loss) / 2
    tokens = sum(len(each.new) for step in (1, 2) for each in seen.live(step))
    policy = expected_loss("dapo", seen.live(1), tokens, steps=2)
    expected = policy + model.config.router_aux_loss_coef * balance
    assert seen.logged[1]["loss"] == pytest.approx(expected, abs=1e-4)
    assert abs(expected - policy) > 1e-3


def rising(batch: pl.DataFrame) -> pl.DataFrame:
    """A rollout that stands twice in a group, praised and blamed: it gets likelier though one advantage is negative."""
    desk = batch.filter(prompt_id="desk").with_columns(excluded=pl.lit(None, pl.String))
    tokens = desk["tokens"].to_list()
    tokens[1] = tokens[0]
    return desk.with_columns(
        tokens=pl.Series(tokens),
        logprobs=pl.Series([[0.0] * len(row) for row in tokens]),
        advantage=pl.Series([3.0, -0.5, -1.0, -1.5]),
    )


@pytest.mark.parametrize(("cap", "highest"), [(None, None), (1, 1.0), (1.05, 1.05)])
def test_a_bad_rollout_that_grew_likelier_is_pushed_down_no_harder_than_the_cap(
    cap: float | None, highest: float | None, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"epochs": 3, "batch_size": 4, "clip_high": 9.0, "max_negative_ratio": cap}
    seen = run(rising(batch), tiny_model, tmp_path, **how)
    beyond, total = False, 0.0
    for each in seen.live(2):
        ratio, advantage = (each.new - each.old).double().exp(), each.row.advantage
        beyond |= advantage < 0 and bool((ratio > (highest or 1)).any())
        if highest is not None and advantage < 0:
            ratio = ratio.clamp(max=highest)
        total += float(-torch.min(ratio * advantage, ratio.clamp(0.8, 10) * advantage).sum())
    assert beyond
    assert seen.logged[2]["loss"] == pytest.approx(total / sum(len(each.new) for each in seen.live(2)), abs=1e-4)


def test_a_capped_token_still_learns() -> None:
    # likelier by e⁰·⁵ and by e⁻⁰·⁵, in a bad rollout and in a good one
    new = torch.tensor([-1.0, -1.0, -1.0, -1.0], requires_grad=True)
    old = torch.tensor([-1.5, -0.5, -1.5, -0.5])
    training = Training(max_negative_ratio=1.0, clip_low=0.99, clip_high=9.0)
    losses, _ = policy_losses(new, old, torch.tensor([-1.0, -1.0, 1.0, 1.0]), training)
    ratios = [1, math.exp(-0.5), math.exp(0.5), math.exp(-0.5)]
    assert losses.tolist() == pytest.approx([ratios[0], ratios[1], -ratios[2], -ratios[3]])
    losses.sum().backward()
    # the gradient of a ratio by its log-prob is the ratio: at the cap it goes on, where clipping would end it
    assert new.grad is not None
    assert torch.allclose(new.grad, losses)


def test_truncated_rollouts_are_masked_where_the_setting_says_so(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    cut = ["length" if name in ("lamp-0", "desk-2") else "stop" for name in batch["rollout_id"]]
    batch = batch.with_columns(finish_reason=pl.Series(cut))
    live = [
        sum(len(seen.live(step)) for step in (1, 2))
        for masked in (False, True)
        for seen in [run(batch, tiny_model, tmp_path / str(masked), mask_truncated=masked)]
    ]
    assert live == [11, 9]


def test_a_batch_of_truncated_rollouts_is_refused(batch: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="apart from truncated rollouts"):
        run(batch.with_columns(finish_reason=pl.lit("length")), tiny_model, tmp_path, mask_truncated=True)


def test_the_effective_share_is_that_of_the_ratios_of_whole_rollouts(full: Seen) -> None:
    for step in (1, 2, 3, 4):
        w = torch.stack([(each.new - each.old).double().sum() for each in full.live(step)]).exp()
        share = float(w.sum() ** 2 / (len(w) * (w**2).sum()))
        assert full.logged[step]["effective_share"] == pytest.approx(share, abs=1e-5)
    assert full.logged[1]["effective_share"] == pytest.approx(1, abs=1e-6)


def test_the_rest_of_the_round_is_skipped_when_too_few_rollouts_still_count(
    full: Seen, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    shares = [full.logged[step]["effective_share"] for step in (1, 2, 3, 4)]
    assert shares[1] < shares[0]
    seen = run(batch, tiny_model, tmp_path, min_effective_share=(shares[0] + shares[1]) / 2)
    assert sorted(seen.logged) == [1, 2]
    assert seen.last["stopped_at_step"] == 2
    assert "stopped_at_step" not in full.last
