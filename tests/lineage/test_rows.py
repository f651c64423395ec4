"""What is known of a rollout, and of a prompt over rounds."""

from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.trace_rows import PromptTrace, RolloutTrace
from rft_pipeline.store import Home, Record, RecordStore, rollouts_table
from tests.runs import edit, run


def current(name: str) -> Record:
    found = RecordStore(Home.find().store).current(f"tiny/{name}")
    assert found is not None
    return found


def table(name: str) -> pl.DataFrame:
    record = current(name)
    return pl.read_parquet(record.path(f"{record.payload['stage']}.parquet"))


def of_rollout(what: str) -> RolloutTrace:
    found = trace(Home.find(), what)
    assert isinstance(found, RolloutTrace)
    return found


def of_prompt(what: str) -> PromptTrace:
    found = trace(Home.find(), what)
    assert isinstance(found, PromptTrace)
    return found


def test_a_rollout_shows_its_prompt_policy_and_text(finished_home: Path) -> None:
    row = table("round_2/reward_batches").row(0, named=True)
    found = of_rollout(row["rollout_id"])
    assert found.prompt.prompt_id == row["prompt_id"]
    assert found.prompt.text is not None
    assert found.prompt.text.startswith("Please help with the ")
    assert found.rollout.completion == row["completion"]
    assert found.rollout.tokens == len(row["tokens"])
    assert found.rollout.finish_reason == row["finish_reason"]
    assert found.rollout.policy_records == (current("round_1/checkpoints").address,)
    assert found.rollout.records == (current("round_2/rollouts").address,)


def test_a_rollout_shows_every_judgement_its_reward_and_the_checkpoint_it_trained(finished_home: Path) -> None:
    row = table("round_2/reward_batches").row(0, named=True)
    told = table("round_2/judge_scores").filter(rollout_id=row["rollout_id"])
    found = of_rollout(row["rollout_id"])
    judgements = {each.criterion: each for each in found.rollout.judgements}
    assert sorted(judgements) == ["has_an_e", "polite", "relevant", "says_enough"]
    for each in told.iter_rows(named=True):
        judged = judgements[each["criterion"]]
        assert (judged.score, judged.status) == (each["score"], each["status"])
        assert (judged.reason, judged.raw) == (each["reason"], each["raw"])
        assert judged.records == (current("round_2/judge_scores").address,)
    assert judgements["says_enough"].judge == "rule"
    assert judgements["polite"].judge == current("policy").content_hash
    (batch,) = found.rollout.batches
    assert batch.scores == row["scores"]
    assert (batch.reward, batch.advantage, batch.excluded) == (row["reward"], row["advantage"], None)
    assert batch.is_current
    assert found.trained == batch.checkpoints == (current("round_2/checkpoints").address,)


def test_a_held_out_rollout_shows_its_judgements_and_trained_nothing(finished_home: Path) -> None:
    row = table("round_2/eval_reports").filter(round=0).row(0, named=True)
    found = of_rollout(row["rollout_id"])
    assert found.rollout.policy_records == (current("policy").address,)
    assert {each.criterion: each.score for each in found.rollout.judgements} == row["scores"]
    reports = [current(f"round_{round_}/eval_reports").address for round_ in (1, 2)]
    assert sorted(each.address for each in found.rollout.evaluations) == sorted(reports)
    assert {each.reward for each in found.rollout.evaluations} == {row["reward"]}
    assert found.trained == ()
    for each in found.rollout.evaluations:
        assert sum(each.weights.values()) == pytest.approx(1.0)
        assert sum(each.weights[name] * value for name, value in row["scores"].items()) == pytest.approx(row["reward"])


def test_an_excluded_rollout_says_why_and_trained_nothing(finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria", [
        {"name": "never", "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": "never there"}}},
        {"name": "has_an_e", "weight": 0, "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": "e"}}},
    ])  # fmt: skip
    run(finished_copy, ("rubric", "round_1/judge_scores", "round_1/reward_batches"))
    batch = table("round_1/reward_batches")
    excluded = batch.filter(pl.col("excluded").is_not_null()).row(0, named=True)
    found = of_rollout(excluded["rollout_id"])
    (old, new) = sorted(found.rollout.batches, key=lambda each: each.is_current)
    assert (new.advantage, new.excluded) == (0.0, "group without variance")
    assert (new.checkpoints, old.excluded) == ((), None)
    assert found.trained == old.checkpoints
    assert [each.criterion for each in found.rollout.judgements].count("has_an_e") == 1
    (twice,) = [each for each in found.rollout.judgements if each.criterion == "has_an_e"]
    assert len(twice.records) == 2


def test_a_rollout_that_a_killed_run_left_is_found_in_the_table(finished_copy: Path) -> None:
    row = table("round_1/rollouts").head(1)
    left = row.with_columns(pl.lit("0123456789abcdef").alias("rollout_id"), pl.lit(9).alias("sample_index"))
    rollouts_table(Home.find().store).append(left)
    found = of_rollout("0123456789abcdef")
    assert found.rollout.tokens == row["tokens"].list.len().item()
    assert found.rollout.records == found.rollout.batches == found.rollout.judgements == ()


def test_a_prompt_shows_its_rollouts_and_mean_reward_by_its_id_in_the_file(finished_home: Path) -> None:
    batch = table("round_1/reward_batches")
    prompt_id = batch["prompt_id"][0]
    mine = batch.filter(prompt_id=prompt_id)
    prompts = pl.read_parquet(current("prompts").path("prompts.parquet"))
    name = prompts.filter(prompt_id=prompt_id)["id"].item()
    found = of_prompt(name)
    assert found == of_prompt(prompt_id)
    (round_1,) = [each for each in found.rounds if each.round == 1]
    assert (round_1.rollouts, round_1.split, round_1.is_current) == (4, "train", True)
    assert round_1.mean_reward == pytest.approx(mine["reward"].mean())
    assert round_1.checkpoints == (current("round_1/checkpoints").address,)
    assert set(mine["rollout_id"]) <= {each.rollout_id for each in found.rollouts}
    (facts,) = found.prompt.names
    assert (facts.id, facts.split, facts.is_current) == (name, "train", True)


def test_a_held_out_prompt_shows_its_reward_under_every_policy(finished_home: Path) -> None:
    found = of_prompt("eval-01")
    last = [each for each in found.rounds if each.record == current("round_2/eval_reports").address]
    rows = table("round_2/eval_reports").filter(prompt_id=found.prompt.prompt_id)
    assert [each.round for each in last] == [0, 1, 2]
    assert [each.mean_reward for each in last] == rows.sort("round")["reward"].to_list()
    assert len(found.rollouts) == 3
    assert all(len(each.judgements) == 4 for each in found.rollouts)
