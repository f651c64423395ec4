"""TRL must train on what the batch holds: these tests look at what reaches its loss."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from trl import GRPOConfig, GRPOTrainer

from rft_pipeline.engines.weights import load_tokenizer, load_weights
from rft_pipeline.errors import GateError
from rft_pipeline.trainers import grpo, shared
from rft_pipeline.trainers.replay import Replay, stored_advantage
from rft_pipeline.trainers.replay_trainer import ReplayTrainer
from tests.trainers.watched import FLAT, GAPPED, Seen, job_of, run

GAP = ("logprob_gap_mean", "logprob_gap_p99")


def live_rows(batch: pl.DataFrame) -> Iterator[dict[str, Any]]:
    return batch.filter(pl.col("excluded").is_null()).iter_rows(named=True)


def test_the_batch_is_what_these_tests_say_it_is(batch: pl.DataFrame) -> None:
    assert batch["excluded"].null_count() == 11
    assert batch.filter(prompt_id=FLAT)["excluded"].unique().to_list() == ["group without variance"]
    assert batch.filter(prompt_id=GAPPED)["excluded"].drop_nulls().to_list() == ["unscored: polite"]
    assert batch["tokens"].list.len().n_unique() > 1


def test_the_whole_round_is_one_rollout_call(full: Seen) -> None:
    assert full.rollout_calls == 1
    # 16 rows in micro-batches of 4, twice
    assert len(full.losses) == 8
    assert sorted(full.logged) == [1, 2, 3, 4]


def test_trl_trains_on_the_advantages_of_the_batch(full: Seen, batch: pl.DataFrame) -> None:
    trained = {(prompt, tokens): advantage for prompt, tokens, advantage, live in full.rows if live}
    stored = {(tuple(r["prompt_tokens"]), tuple(r["tokens"])): r["advantage"] for r in live_rows(batch)}
    assert trained.keys() == stored.keys()
    for key, advantage in stored.items():
        assert trained[key] == pytest.approx(advantage, abs=1e-5)


def test_every_live_rollout_is_seen_once_an_epoch_with_all_its_tokens(full: Seen, batch: pl.DataFrame) -> None:
    live = sorted((prompt, tokens, count) for prompt, tokens, _, count in full.rows if count)
    stored = sorted((tuple(r["prompt_tokens"]), tuple(r["tokens"]), len(r["tokens"])) for r in live_rows(batch))
    assert live == stored


def test_excluded_rollouts_and_the_filling_are_masked(full: Seen) -> None:
    masked = [row for row in full.rows if not row[3]]
    assert len(full.rows) == 16
    assert len(masked) == 5  # the unscored rollout and a group of four
    assert all(advantage == 0 for _, _, advantage, _ in masked)


def test_both_epochs_train_on_the_same_rows(full: Seen) -> None:
    for first, second in zip(full.losses[:4], full.losses[4:], strict=True):
        for name in ("completion_ids", "advantages", "old_per_token_logps"):
            assert torch.equal(first[name], second[name])


def furthest_ratio(losses: list[dict[str, Any]]) -> float:
    """How far the ratio of any token is from 1."""
    return max(
        float(((loss["new"] - loss["old_per_token_logps"]).exp() - 1).abs()[loss["completion_mask"].bool()].max())
        for loss in losses
    )


def test_the_ratio_is_1_until_the_first_update(full: Seen) -> None:
    assert furthest_ratio(full.losses[:2]) < 1e-6
    assert furthest_ratio(full.losses[2:]) > 1e-3


def test_under_autocast_the_ratio_is_exactly_1_before_the_first_update(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    seen = run(batch, tiny_model, tmp_path, bf16=True)
    assert furthest_ratio(seen.losses[:2]) < 1e-6
    assert {weight.dtype for weight in load_file(seen.checkpoint / "model.safetensors").values()} == {torch.float32}


def test_old_logprobs_are_those_the_rollouts_were_drawn_with(full: Seen, batch: pl.DataFrame) -> None:
    drawn = {(tuple(r["prompt_tokens"]), tuple(r["tokens"])): r["logprobs"] for r in batch.iter_rows(named=True)}
    old = [
        logps[mask.bool()].tolist()
        for loss in full.losses[:4]
        for logps, mask in zip(loss["old_per_token_logps"], loss["completion_mask"], strict=True)
    ]
    for (prompt, tokens, _, _), logprobs in zip(full.rows, old, strict=True):
        assert logprobs == pytest.approx(drawn[prompt, tokens], abs=1e-4)


def test_an_engine_in_float32_and_the_trainer_agree_on_every_token(full: Seen) -> None:
    assert 0 <= full.last["logprob_gap_mean"] <= full.last["logprob_gap_p99"] < 1e-4


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("fused", [False, True])
def test_the_gap_is_what_an_engine_is_off_over_the_live_tokens(
    temperature: float,
    fused: bool,
    batch: pl.DataFrame,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ReplayTrainer, "_takes_fused_head", lambda *_: fused)
    # the unscored rollout and the group without variance are not trained on, so what they say does not count
    off = pl.when(pl.col("excluded").is_not_null()).then(9.0).when(pl.col("prompt_id") == "desk").then(-0.5)
    shifted = batch.with_columns(logprobs=pl.col("logprobs") + off.otherwise(0.25))
    live = batch.filter(pl.col("excluded").is_null())
    count, desk = (rows["tokens"].list.len().sum() for rows in (live, live.filter(prompt_id="desk")))
    seen = run(shifted, tiny_model, tmp_path, epochs=1, temperature=temperature)
    assert seen.last["logprob_gap_mean"] == pytest.approx((0.5 * desk + 0.25 * (count - desk)) / count, abs=1e-4)
    assert seen.last["logprob_gap_p99"] == pytest.approx(0.5, abs=1e-4)


def test_logprobs_without_the_padding_equal_those_with_it(
    full: Seen, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    replay = Replay(batch, 8, 7)
    job = job_of(batch, tiny_model, tmp_path, lambda step, metrics: None)
    trainer = ReplayTrainer(
        model=load_weights(tiny_model, "float32", "cpu"),
        args=GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", num_generations=4),
        train_dataset=Dataset.from_dict({"prompt": replay.prompt_order}),
        reward_funcs=[stored_advantage],
        rollout_func=replay,
        processing_class=load_tokenizer(job.start),
    )
    rows = {
        name: torch.cat([loss[name] for loss in full.losses[:4]])
        for name in full.losses[0]
        if name != "num_items_in_batch"
    }
    ids = torch.cat([rows["prompt_ids"], rows["completion_ids"]], dim=1)
    mask = torch.cat([rows["prompt_mask"], rows["completion_mask"]], dim=1)
    keep = rows["completion_ids"].shape[1]
    assert int(mask.sum(1).min()) < mask.shape[1]
    with torch.no_grad():
        for size in (None, 1, 3):
            cut, entropy, _ = trainer._get_per_token_logps_and_entropies(  # type: ignore[no-untyped-call]
                trainer.model, ids, mask, keep, batch_size=size, compute_entropy=True
            )
            padded, padded_entropy, _ = GRPOTrainer._get_per_token_logps_and_entropies(
                trainer, trainer.model, ids, mask, keep, batch_size=size, compute_entropy=True
            )
            real = rows["completion_mask"].bool()
            assert cut.shape == padded.shape
            assert torch.allclose(cut[real], padded[real], atol=1e-5)
            assert torch.allclose(entropy[real], padded_entropy[real], atol=1e-4)


def test_every_step_logs_our_metrics_and_none_of_them_is_a_reward(full: Seen) -> None:
    for metrics in full.logged.values():
        assert set(metrics) == set((shared.METRICS | grpo.METRICS).values()) | {"tokens_per_second"}
        assert all(isinstance(value, float) and value == value for value in metrics.values())
        assert not any("reward" in name for name in metrics)
        assert metrics["learning_rate"] == pytest.approx(1e-3)
        assert metrics["tokens_per_second"] > 0
    assert full.last == full.logged[4] | {name: full.last[name] for name in GAP}


def test_the_kl_to_the_start_is_0_at_the_start_and_grows(full: Seen) -> None:
    kl = [full.logged[step]["kl_to_start"] for step in (1, 2, 3, 4)]
    assert kl[0] == pytest.approx(0, abs=1e-6)
    assert 0 < kl[1] < kl[3]


def test_training_makes_good_rollouts_likelier_and_bad_ones_unlikelier(full: Seen, batch: pl.DataFrame) -> None:
    before = sum(float((loss["old_per_token_logps"].sum(1) * loss["advantages"]).sum()) for loss in full.losses[4:])
    after = sum(float((loss["new"].sum(1) * loss["advantages"]).sum()) for loss in full.losses[4:])
    assert after > before


@pytest.mark.parametrize(("batch_size", "rows"), [(1, 12), (4, 12), (5, 20), (8, 16), (12, 12), (16, 16), (32, 32)])
def test_the_batch_is_filled_up_to_whole_steps(batch: pl.DataFrame, batch_size: int, rows: int) -> None:
    replay = Replay(batch, batch_size, 7)
    assert replay.size == rows
    assert replay.size % batch_size == 0
    replayed = replay([prompt for prompt in replay.prompt_order for _ in range(replay.group_size)], None)
    assert len(replayed["completion_ids"]) == rows
    assert sum(any(mask) for mask in replayed["env_mask"]) == 11


def test_one_group_fills_a_step_of_many(batch: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> None:
    seen = run(batch.filter(prompt_id="desk"), tiny_model, tmp_path, batch_size=16, epochs=1)
    assert sorted(seen.logged) == [1]
    live = [int((loss["completion_mask"] * loss["tool_mask"]).sum(1).bool().sum()) for loss in seen.losses]
    assert sum(live) == 4


@pytest.mark.parametrize("micro", [3, 16])
def test_a_micro_batch_that_does_not_fit_the_step_is_made_smaller(
    micro: int, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    seen = run(batch, tiny_model, tmp_path, epochs=1, runtime={"micro_batch_size": micro, "device": "cpu"})
    assert {len(loss["advantages"]) for loss in seen.losses} == {{3: 2, 16: 8}[micro]}
    assert sorted(seen.logged) == [1, 2]


def test_the_planned_steps_are_those_that_are_taken(
    full: Seen, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    job = job_of(batch, tiny_model, tmp_path, lambda step, metrics: None)
    assert job.training.how.steps(job.batch, job.training, job.weights) == len(full.logged) == 4


def test_a_batch_that_can_teach_nothing_is_refused(batch: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="no group with variance"):
        run(batch.filter(prompt_id=FLAT), tiny_model, tmp_path)
