"""Grpo must train on what the batch holds: these tests look at what reaches its loss."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from rft_pipeline.errors import GateError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.trainers.rows import LOGPROBS
from tests.trainers.watched import FLAT, GAPPED, Seen, SeenRow, job_of, run

GAP = ("logprob_gap_mean", "logprob_gap_p99")
METRICS = {
    "loss",
    "grad_norm",
    "learning_rate",
    "entropy",
    "clip_ratio",
    "kl_to_start",
    "effective_share",
    "tokens_per_second",
}


def live_rows(batch: pl.DataFrame) -> Iterator[dict[str, Any]]:
    return batch.filter(pl.col("excluded").is_null()).iter_rows(named=True)


def of_epoch(seen: Seen, *steps: int) -> dict[str, SeenRow]:
    return {each.row.rollout_id: each for step in steps for each in seen.live(step)}


def test_the_batch_is_what_these_tests_say_it_is(batch: pl.DataFrame) -> None:
    assert batch["excluded"].null_count() == 11
    assert batch.filter(prompt_id=FLAT)["excluded"].unique().to_list() == ["group without variance"]
    assert batch.filter(prompt_id=GAPPED)["excluded"].drop_nulls().to_list() == ["unscored: polite"]
    assert batch["tokens"].list.len().n_unique() > 1


def test_steps_have_whole_groups_in_a_seeded_order(full: Seen) -> None:
    assert [len(step) for step in full.steps] == [8, 4, 8, 4]
    assert sorted(full.logged) == [1, 2, 3, 4]
    order = sorted(["lamp", GAPPED, "desk"], key=lambda prompt: seed_of(7, "training order", prompt))
    groups = [{seen.row.group for seen in step} for step in full.steps]
    assert groups == [set(order[:2]), set(order[2:])] * 2


def test_the_loss_has_the_live_rollouts_with_their_advantages(full: Seen, batch: pl.DataFrame) -> None:
    stored = {row["rollout_id"]: row for row in live_rows(batch)}
    for steps in ((1, 2), (3, 4)):
        trained = of_epoch(full, *steps)
        assert trained.keys() == stored.keys()
        for name, row in stored.items():
            seen = trained[name].row
            assert (seen.prompt_tokens, seen.tokens) == (row["prompt_tokens"], row["tokens"])
            assert seen.advantage == row["advantage"]
            assert len(trained[name].new) == len(row["tokens"])


def test_excluded_rollouts_have_no_weight(full: Seen) -> None:
    masked = [seen for step in full.steps for seen in step if not seen.weight]
    assert {seen.row.rollout_id for seen in masked} == {"gapped-1"}
    assert not any(seen.row.live for seen in masked)


def test_both_epochs_have_the_same_old_log_probs(full: Seen) -> None:
    first, second = of_epoch(full, 1, 2), of_epoch(full, 3, 4)
    for name, seen in first.items():
        assert torch.equal(seen.old, second[name].old)


def furthest_ratio(rows: list[SeenRow]) -> float:
    """How far the ratio of any token is from 1."""
    return max(float(((seen.new - seen.old).exp() - 1).abs().max()) for seen in rows)


def test_the_ratio_is_1_until_the_first_update(full: Seen) -> None:
    assert furthest_ratio(full.steps[0]) == 0
    assert furthest_ratio(full.steps[1]) > 1e-3


def test_under_autocast_the_ratio_is_exactly_1_as_long_as_the_weights_stay(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    seen = run(batch, tiny_model, tmp_path, bf16=True, learning_rate=1e-20)
    # the second step's old log-probs come from a pass before the first
    assert [furthest_ratio(step) for step in seen.steps] == [0, 0, 0, 0]
    assert {weight.dtype for weight in load_file(seen.checkpoint / "model.safetensors").values()} == {torch.float32}


def test_old_logprobs_are_those_the_rollouts_were_drawn_with(full: Seen, batch: pl.DataFrame) -> None:
    drawn = {row["rollout_id"]: row["logprobs"] for row in batch.iter_rows(named=True)}
    for seen in (*full.steps[0], *full.steps[1]):
        assert seen.old.tolist() == pytest.approx(drawn[seen.row.rollout_id], abs=1e-4)


def test_old_logprobs_are_left_for_the_caller(full: Seen) -> None:
    left = dict(pl.read_parquet(full.checkpoint.parent / LOGPROBS).iter_rows())
    assert len(left) == 12
    for seen in (*full.steps[0], *full.steps[1]):
        assert left[seen.row.rollout_id] == seen.old.tolist()


def test_an_engine_in_float32_and_the_trainer_agree_on_every_token(full: Seen) -> None:
    assert 0 <= full.last["logprob_gap_mean"] <= full.last["logprob_gap_p99"] < 1e-4


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_gap_is_what_an_engine_is_off_over_the_live_tokens(
    temperature: float, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    # the unscored rollout and the group without variance are not trained on, so what they say does not count
    off = pl.when(pl.col("excluded").is_not_null()).then(9.0).when(pl.col("prompt_id") == "desk").then(-0.5)
    shifted = batch.with_columns(logprobs=pl.col("logprobs") + off.otherwise(0.25))
    live = batch.filter(pl.col("excluded").is_null())
    count, desk = (rows["tokens"].list.len().sum() for rows in (live, live.filter(prompt_id="desk")))
    seen = run(shifted, tiny_model, tmp_path, epochs=1, temperature=temperature)
    assert seen.last["logprob_gap_mean"] == pytest.approx((0.5 * desk + 0.25 * (count - desk)) / count, abs=1e-4)
    assert seen.last["logprob_gap_p99"] == pytest.approx(0.5, abs=1e-4)


def test_every_step_logs_our_metrics_and_none_of_them_is_a_reward(full: Seen) -> None:
    for metrics in full.logged.values():
        assert set(metrics) == METRICS
        assert all(isinstance(value, float) and value == value for value in metrics.values())
        assert metrics["learning_rate"] == pytest.approx(1e-3)
        assert metrics["tokens_per_second"] > 0
    assert full.last == full.logged[4] | {name: full.last[name] for name in GAP}


def test_the_kl_to_the_start_is_0_at_the_start_and_grows(full: Seen) -> None:
    kl = [full.logged[step]["kl_to_start"] for step in (1, 2, 3, 4)]
    assert kl[0] == 0
    assert 0 < kl[1] < kl[3]


def test_training_makes_good_rollouts_likelier_and_bad_ones_unlikelier(full: Seen) -> None:
    last = of_epoch(full, 3, 4).values()
    assert sum(float((seen.new - seen.old).sum()) * seen.row.advantage for seen in last) > 0


def test_one_group_makes_a_step_of_its_own(batch: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> None:
    seen = run(batch.filter(prompt_id="desk"), tiny_model, tmp_path, batch_size=16, epochs=1)
    assert sorted(seen.logged) == [1]
    assert len(seen.live(1)) == 4


@pytest.mark.parametrize("micro", [1, 3, 16])
def test_a_padded_pass_has_no_more_rows_than_a_micro_batch(
    micro: int, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    runtime = {"micro_batch_size": micro, "device": "cpu", "packing": "off"}
    seen = run(batch, tiny_model, tmp_path, epochs=1, runtime=runtime)
    assert [len(rows) for rows in seen.passes] == {1: [1] * 12, 3: [3, 3, 2, 3, 1], 16: [8, 4]}[micro]
    assert sorted(seen.logged) == [1, 2]


def test_the_planned_steps_are_those_that_are_taken(
    full: Seen, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    job = job_of(batch, tiny_model, tmp_path, lambda step, metrics: None)
    assert job.training.how.steps(job.batch, job.training, job.weights) == len(full.logged) == 4


def test_a_batch_that_can_teach_nothing_is_refused(batch: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="no group with variance"):
        run(batch.filter(prompt_id=FLAT), tiny_model, tmp_path)
