"""What the settings of GRPO do to its loss and its steps, on numbers read off the watched loss."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import torch

from rft_pipeline.engines.weights import load_weights
from rft_pipeline.errors import GateError
from rft_pipeline.trainers.replay_trainer import ReplayTrainer
from tests.architectures import write_model
from tests.trainers.watched import MAX_NEW_TOKENS, Seen, run


def of_step(seen: Seen, step: int, micro_batches: int = 2) -> dict[str, torch.Tensor]:
    """What reached the loss in a step, numbered from 1."""
    parts = seen.losses[(step - 1) * micro_batches : step * micro_batches]
    rows = {name: torch.cat([part[name] for part in parts]) for name in parts[0] if parts[0][name].ndim}
    return {**rows, "mask": (rows["completion_mask"] * rows["tool_mask"]).double()}


def surrogate(rows: dict[str, torch.Tensor]) -> torch.Tensor:
    """−min(ratio·A, clip(ratio)·A) of each token, 0 where masked."""
    ratio = (rows["new"] - rows["old_per_token_logps"]).double().exp()
    advantage = rows["advantages"].double()[:, None]
    return -torch.min(ratio * advantage, ratio.clamp(0.8, 1.28) * advantage) * rows["mask"]


def expected_loss(kind: str, rows: dict[str, torch.Tensor], round_tokens: float, steps: int, budget: int) -> float:
    per_token, mask = surrogate(rows), rows["mask"]
    match kind:
        case "dapo":
            found = per_token.sum() / (round_tokens / steps)
        case "grpo":
            found = (per_token.sum(1) / mask.sum(1).clamp(min=1)).mean()
        case "bnpo":
            found = per_token.sum() / mask.sum()
        case _:
            found = per_token.sum() / (len(mask) * budget)
    return float(found)


@pytest.mark.parametrize("kind", ["dapo", "grpo", "dr_grpo", "bnpo"])
@pytest.mark.parametrize("micro", [4, 8])
def test_the_loss_averages_tokens_as_its_type_says(
    kind: str, micro: int, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    runtime = {"micro_batch_size": micro, "device": "cpu"}
    seen = run(batch, tiny_model, tmp_path, loss_type=kind, runtime=runtime)
    parts = [of_step(seen, step, 8 // micro) for step in (1, 2, 3, 4)]
    round_tokens = float(parts[0]["mask"].sum() + parts[1]["mask"].sum())
    for step, rows in enumerate(parts, start=1):
        expected = expected_loss(kind, rows, round_tokens, steps=2, budget=MAX_NEW_TOKENS)
        assert seen.logged[step]["loss"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("fused", [False, True])
def test_a_mixture_of_experts_adds_its_own_load_balancing_loss(
    fused: bool, batch: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReplayTrainer, "_takes_fused_head", lambda *_: fused)
    folder = write_model(tmp_path / "model", "qwen2-moe")
    seen = run(batch, folder, tmp_path, epochs=1)
    first = seen.losses[:2]  # of two passes, before the first update
    model = load_weights(folder, "float32", "cpu")
    balance = []
    for rows in first:
        ids = torch.cat([rows["prompt_ids"], rows["completion_ids"]], dim=1)
        mask = torch.cat([rows["prompt_mask"], rows["completion_mask"]], dim=1)
        with torch.no_grad():
            balance.append(float(model(ids, attention_mask=mask, output_router_logits=True).aux_loss))
    steps = [of_step(seen, step) for step in (1, 2)]
    tokens = float(sum(rows["mask"].sum() for rows in steps))
    policy = expected_loss("dapo", steps[0], tokens, steps=2, budget=MAX_NEW_TOKENS)
    expected = policy + model.config.router_aux_loss_coef * sum(balance) / 2
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
    rows = of_step(seen, 2, 1)
    ratio = (rows["new"] - rows["old_per_token_logps"]).double().exp()
    advantage = rows["advantages"].double()[:, None]
    beyond = (advantage < 0) & (ratio > (highest or 1)) & rows["mask"].bool()
    assert beyond.any()
    capped = ratio if highest is None else torch.where(advantage < 0, ratio.clamp(max=highest), ratio)
    per_token = -torch.min(capped * advantage, capped.clamp(0.8, 10) * advantage) * rows["mask"]
    assert seen.logged[2]["loss"] == pytest.approx(float(per_token.sum() / rows["mask"].sum()), abs=1e-4)


def test_a_capped_token_still_learns() -> None:
    # likelier by e⁰·⁵ and by e⁻⁰·⁵, in a bad rollout and in a good one
    new = torch.tensor([[-1.0, -1.0], [-1.0, -1.0]], requires_grad=True)
    old = torch.tensor([[-1.5, -0.5], [-1.5, -0.5]])
    inputs = {"old_per_token_logps": old, "advantages": torch.tensor([-1.0, 1.0])}
    ReplayTrainer._cap_negative_ratios(SimpleNamespace(max_negative_ratio=1.0), inputs, new)  # type: ignore[arg-type]
    ratio = (new - inputs["old_per_token_logps"]).exp()
    assert ratio.flatten().tolist() == pytest.approx([1, math.exp(-0.5), math.exp(0.5), math.exp(-0.5)])
    ratio.sum().backward()
    # the gradient of a ratio by its log-prob is the ratio: at the cap it goes on, where clipping would end it
    assert new.grad is not None
    assert torch.allclose(new.grad, ratio)


def test_truncated_rollouts_are_masked_where_the_setting_says_so(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    cut = ["length" if name in ("lamp-0", "desk-2") else "stop" for name in batch["rollout_id"]]
    batch = batch.with_columns(finish_reason=pl.Series(cut))
    live = [
        sum(1 for *_, tokens in run(batch, tiny_model, tmp_path / str(masked), mask_truncated=masked).rows if tokens)
        for masked in (False, True)
    ]
    assert live == [11, 9]


def test_a_batch_of_truncated_rollouts_is_refused(batch: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="apart from truncated rollouts"):
        run(batch.with_columns(finish_reason=pl.lit("length")), tiny_model, tmp_path, mask_truncated=True)


def test_the_effective_share_is_that_of_the_ratios_of_whole_rollouts(full: Seen) -> None:
    for step in (1, 2, 3, 4):
        rows = of_step(full, step)
        live = rows["mask"].any(1)
        w = ((rows["new"] - rows["old_per_token_logps"]) * rows["mask"]).sum(1)[live].exp()
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
