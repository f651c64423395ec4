"""A round in generations: each is sampled from the policy as it then is; a killed round ends as an undisturbed one."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.errors import GateError
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.progress import read_progress
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home, Record, Table, judgements_table, rollouts_table
from tests.pipeline.stage_process import StageProcess
from tests.runs import copy_home, edit, run
from tests.tiny_campaign import write_home

SOURCES = ["prompts", "rubric", "policy"]
ROUND = ["round_1/rollouts", "round_1/judge_scores", "round_1/reward_batches", "round_1/checkpoints"]
GENERATIONS, PROMPTS, GROUP = 4, 8, 4
ROLLOUTS = PROMPTS * GROUP


def table_of(record: Record) -> pl.DataFrame:
    return pl.read_parquet(record.path(f"{record.payload['stage']}.parquet"))


@pytest.fixture(scope="module")
def undisturbed(on_policy_once: Path) -> dict[str, Record]:
    """The records of a first round that nobody disturbed."""
    return run(on_policy_once, SOURCES + ROUND)


@pytest.fixture
def made_round(undisturbed: dict[str, Record], on_policy_once: Path, on_policy: Path) -> Path:
    """The tiny campaign in generations, with a copy of this round."""
    copy_home(on_policy_once)
    return on_policy


def test_each_generation_is_sampled_from_the_policy_as_it_then_is(undisturbed: dict[str, Record]) -> None:
    records = undisturbed
    rows = table_of(records["round_1/rollouts"])
    assert rows.group_by("generation", maintain_order=True).len().rows() == [(k, 8) for k in range(1, GENERATIONS + 1)]
    assert rows["prompt_id"].n_unique() == PROMPTS
    policies = rows.group_by("generation", maintain_order=True).agg(pl.col("policy").unique())["policy"].to_list()
    assert [len(each) for each in policies] == [1] * GENERATIONS
    assert policies[0] == [records["policy"].content_hash]
    assert len({each for (each,) in policies}) == GENERATIONS
    lines = [json.loads(line) for line in records["round_1/checkpoints"].path("generations.jsonl").open()]
    assert [line["generation"] for line in lines] == list(range(1, GENERATIONS + 1))
    assert all({"reward", "score_polite", "length_mean", "loss"} <= line.keys() for line in lines if line["steps"])


def test_log_probs_of_the_engine_follow_the_trained_policy(on_policy: Path) -> None:
    # if the engine kept the weights of the first generation, its log-probs would differ from the trainer's
    edit(on_policy / "campaign.yaml", "training.learning_rate", 0.01)
    records = run(on_policy, SOURCES + ROUND)
    rows = table_of(records["round_1/rollouts"]).select("rollout_id", "generation", "logprobs")
    trained = pl.read_parquet(records["round_1/checkpoints"].path("logprobs.parquet"))
    both = rows.join(trained, on="rollout_id").filter(pl.col("generation") == GENERATIONS)
    assert both.height
    gap = both.explode("logprobs", "old_logprobs").select((pl.col("logprobs") - pl.col("old_logprobs")).abs().mean())
    assert gap.item() < 0.05


def test_a_second_run_finds_all_four_records(made_round: Path) -> None:
    assert all(record.cached for record in run(made_round, ROUND).values())


def test_one_stage_of_the_round_makes_them_all(on_policy: Path) -> None:
    run(on_policy, SOURCES)
    made = run(on_policy, ["round_1/checkpoints"])["round_1/checkpoints"]
    assert not made.cached
    assert all(record.cached for record in run(on_policy, ROUND).values())


def test_a_checkpoint_whose_files_are_gone_is_trained_again_on_the_same_rows(made_round: Path) -> None:
    records = run(made_round, SOURCES + ROUND)
    (records["round_1/checkpoints"].folder / "checkpoint" / "model.safetensors").unlink()
    again = Pipeline(Home.find()).run_together(load_campaign(made_round), "round_1/checkpoints")
    assert [record.cached for record in again.values()] == [True, True, True, False]
    assert again["round_1/checkpoints"].content_hash == records["round_1/checkpoints"].content_hash
    assert pl.scan_delta(rollouts_table(Home.find().store).path).select(pl.len()).collect().item() == ROLLOUTS


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("rubric.yaml criteria.0.weight", 2.0),
        ("campaign.yaml training.learning_rate", 0.002),
        ("campaign.yaml reward.clip", 0.5),
    ],
)
def test_what_steers_the_training_makes_the_rollouts_stale(made_round: Path, where: str, value: float) -> None:
    records = run(made_round, SOURCES + ROUND)
    file, key = where.split()
    edit(made_round / file, key, value)
    again = run(made_round, [*SOURCES, *ROUND])
    rows, before = table_of(again["round_1/rollouts"]), table_of(records["round_1/rollouts"])
    assert again["round_1/rollouts"].fingerprint != records["round_1/rollouts"].fingerprint
    first = pl.col("generation") == 1  # its policy is the same, so its rollouts are found again
    assert rows.filter(first)["rollout_id"].to_list() == before.filter(first)["rollout_id"].to_list()
    assert again["round_1/rollouts"].rows["made"] == ROLLOUTS - before.filter(first).height


def test_a_round_without_differences_is_refused_early(on_policy: Path) -> None:
    edit(on_policy / "campaign.yaml", "reward.min_group_share", 1.0)
    edit(
        on_policy / "rubric.yaml",
        "criteria",
        [{"name": "always", "judge": {"protocol": "rule", "rule": {"name": "length", "min_words": 0}}}],
    )
    run(on_policy, SOURCES)
    with pytest.raises(GateError, match="generation 1 of 4: 0 of 2 groups have variance"):
        run(on_policy, ROUND)
    assert pl.scan_delta(rollouts_table(Home.find().store).path).select(pl.len()).collect().item() == 2 * GROUP


class Killed(NamedTuple):
    """The records of a round that was killed, and of one that was not."""

    records: dict[str, Record]
    undisturbed: dict[str, Record]
    home: Home


@pytest.fixture(scope="module")
def killed(
    undisturbed: dict[str, Record],
    on_policy_once: Path,
    empty_mlflow: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Killed:
    """Killed while the second generation is sampled, while it is judged, and while the third is trained on."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("RFT_HOME", write_home(tmp_path_factory.mktemp("killed_generations"), empty_mlflow))
        run(on_policy_once, SOURCES)
        home = Home.find()
        judged = judgements_table(home.store)
        _kill_when(lambda: _height(rollouts_table(home.store)) > 8)
        _kill_when(lambda: any(r.what.startswith("judgements") and "generation 2" in r.within for r in _at(home)))
        _kill_when(lambda: any(r.what == "steps" and "generation 3" in r.within for r in _at(home)))
        assert _height(judged)
        records = run(on_policy_once, ROUND)
    return Killed(records, undisturbed, home)


_at = lambda home: read_progress(home.progress)  # noqa: E731


def _height(table: Table) -> int:
    return int(table.rows().select(pl.len()).collect().item())


def _kill_when(seen: Callable[[], bool]) -> None:
    process = StageProcess(ROUND, rest=0.2)
    waited = time.monotonic()
    while not seen():
        assert time.monotonic() - waited < 60
        time.sleep(0.02)
    process.kill()


def test_a_killed_round_ends_with_the_results_of_one_that_nobody_disturbed(killed: Killed) -> None:
    for name in ROUND:
        assert killed.records[name].fingerprint == killed.undisturbed[name].fingerprint
        assert killed.records[name].content_hash == killed.undisturbed[name].content_hash
    numbers = [records["round_1/checkpoints"].path("generations.jsonl").read_text() for records in killed[:2]]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("name", ["rollouts", "judgements"])
def test_no_key_is_twice_in_a_table_after_kills(killed: Killed, name: str) -> None:
    table = {"rollouts": rollouts_table, "judgements": judgements_table}[name](killed.home.store)
    keys = pl.scan_delta(table.path).select(table.key).collect()[table.key]
    assert keys.n_unique() == keys.len() > 0


def test_kills_leave_nothing_behind(killed: Killed) -> None:
    for name in (".making-*", ".training-*"):
        assert not list(killed.home.store.rglob(name))
    assert not list(killed.home.progress.iterdir())


def test_mlflow_shows_each_step_once_with_the_reward(killed: Killed) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=killed.home.mlflow_uri)
    (found,) = client.search_runs(["1"], filter_string="tags.`rft.round` = '1'")
    steps = killed.records["round_1/checkpoints"].rows["steps"]
    for name in ("train/loss", "train/reward", "train/score_polite"):
        history = client.get_metric_history(found.info.run_id, name)
        assert sorted(metric.step for metric in history) == list(range(1, steps + 1))


def test_the_plan_counts_what_a_killed_round_has_made(on_policy: Path) -> None:
    assert [node.name for node in nodes(load_campaign(on_policy)) if node.round == 1][:4] == ROUND
