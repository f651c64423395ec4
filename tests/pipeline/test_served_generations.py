"""A round in generations with judges behind a server: time-outs, and generations that are sampled ahead."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rft_pipeline.errors import EngineError
from rft_pipeline.progress import read_progress
from rft_pipeline.store import Home, rollouts_table
from tests.engines.faulty_server import fault_of
from tests.engines.serving import Serving
from tests.pipeline.test_generations import GENERATIONS, GROUP, PROMPTS, ROUND, SOURCES, _height, _kill_when, table_of
from tests.runs import edit, run
from tests.tiny_campaign import write_home

SERVED = ("clear", "kind")
"""Criteria whose judge is behind the server; the others are rules."""


def serve(folder: Path, server: Serving, **settings: Any) -> None:
    """Have two criteria judged by the server, and number the prompts."""
    asking = {"protocol": "binary", "by": "strong", "answer": "json"}
    rules = [("says_enough", {"name": "length", "min_words": 6}), ("has_an_e", {"name": "regex", "pattern": "e"})]
    criteria = [
        *({"name": name, "judge": {**asking, "question": f"Is it {name}?"}} for name in SERVED),
        *({"name": name, "judge": {"protocol": "rule", "rule": rule}} for name, rule in rules),
    ]
    edit(folder / "rubric.yaml", "criteria", criteria)
    found = {"url": server.url, "concurrency": 16, "timeout_seconds": 20, "attempts": 1, **settings}
    edit(folder / "campaign.yaml", "judges", {"strong": {"model": "served:judge", "server": found}})
    path = folder / "prompts" / "train.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    numbered = [{**row, "prompt": f"Please help with number {place}."} for place, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in numbered), encoding="utf-8")


def number_in(row: dict[str, Any]) -> int:
    return int(json.loads(row["messages"])[-1]["content"].split()[-1].rstrip("."))


def test_a_call_that_never_answers_leaves_its_rollout_out_and_the_round_goes_on(
    on_policy: Path, server: Serving
) -> None:
    serve(on_policy, server, timeout_seconds=2)
    edit(on_policy / "campaign.yaml", "checks.max_unscored_share", 0.9)
    edit(on_policy / "campaign.yaml", "reward.min_group_share", 0.0)
    plan = server.plan(seed=2, share=0.3, kinds=("hang",), lasting=1)
    records = run(on_policy, SOURCES + ROUND)
    rows = table_of(records["round_1/rollouts"])
    hung = {row["rollout_id"] for row in rows.iter_rows(named=True) if fault_of(plan, number_in(row))[0]}
    said = set(rows.filter(pl.col("completion").str.strip_chars() != "")["rollout_id"])
    scores = table_of(records["round_1/judge_scores"])
    failed = scores.filter(status="failed")
    assert 0 < len(hung) < rows.height
    assert set(failed["rollout_id"]) == hung & said
    assert set(failed["criterion"]) == set(SERVED)
    assert failed["reason"].str.contains("no answer within 2 s").all()
    assert records["round_1/judge_scores"].rows["failed"] == failed.height
    batch = table_of(records["round_1/reward_batches"])
    assert batch.filter(pl.col("rollout_id").is_in(list(hung & said)))["excluded"].null_count() == 0
    assert batch["excluded"].null_count() > 0
    assert (records["round_1/checkpoints"].folder / "checkpoint" / "model.safetensors").is_file()


def test_too_many_time_outs_end_the_round_once_a_quarter_of_it_is_made(on_policy: Path, server: Serving) -> None:
    serve(on_policy, server, timeout_seconds=0.3)
    server.plan(share=1, kinds=("hang",), lasting=1)
    run(on_policy, SOURCES)
    with pytest.raises(EngineError, match=r"no answer within 0\.3 s.* checks\.max_unscored_share allows"):
        run(on_policy, ROUND)
    assert _height(rollouts_table(Home.find().store)) == PROMPTS // GENERATIONS * GROUP


@pytest.fixture
def ahead(on_policy: Path, server: Serving) -> Path:
    """The campaign with served judges, each generation sampled while the one before it is judged."""
    serve(on_policy, server)
    edit(on_policy / "campaign.yaml", "training.generations_ahead", 1)
    edit(on_policy / "campaign.yaml", "training.learning_rate", 0.01)
    return on_policy


def test_a_generation_sampled_ahead_is_of_the_policy_one_step_behind(ahead: Path) -> None:
    records = run(ahead, SOURCES + ROUND)
    rows = table_of(records["round_1/rollouts"])
    policies = rows.group_by("generation", maintain_order=True).agg(pl.col("policy").unique())["policy"].to_list()
    (start,) = policies[0]
    assert start == records["policy"].content_hash
    assert policies[1] == [start]
    assert len({each for (each,) in policies}) == GENERATIONS - 1
    assert rows["prompt_id"].n_unique() == PROMPTS


def test_ratios_are_those_to_the_policy_that_sampled(ahead: Path) -> None:
    records = run(ahead, SOURCES + ROUND)
    rows = table_of(records["round_1/rollouts"]).select("rollout_id", "generation", "logprobs")
    stored = pl.read_parquet(records["round_1/checkpoints"].path("logprobs.parquet"))
    gaps = (
        rows.join(stored, on="rollout_id")
        .explode("logprobs", "old_logprobs")
        .group_by("generation")
        .agg((pl.col("logprobs") - pl.col("old_logprobs")).abs().mean().alias("gap"))
    )
    assert gaps.height
    assert gaps["gap"].max() < 0.05
    numbers = [json.loads(line) for line in records["round_1/checkpoints"].path("generations.jsonl").open()]
    shares = [each["effective_share"] for each in numbers if each["steps"]]
    assert shares[0] == pytest.approx(1, abs=1e-6)
    assert all(share < 1 - 1e-6 for share in shares[1:])


def test_a_round_sampled_ahead_is_another_round(ahead: Path) -> None:
    first = run(ahead, SOURCES + ROUND)
    edit(ahead / "campaign.yaml", "training.generations_ahead", 0)
    again = run(ahead, SOURCES + ROUND)
    assert all(again[name].fingerprint != first[name].fingerprint for name in ROUND)
    assert all(record.cached for record in run(ahead, ROUND).values())


def test_an_error_of_a_judge_keeps_the_generation_that_was_sampled_ahead(ahead: Path, server: Serving) -> None:
    run(ahead, SOURCES)
    server.plan(key="another")
    with pytest.raises(EngineError, match="HTTP 401"):
        run(ahead, ROUND)
    assert _height(rollouts_table(Home.find().store)) == 2 * PROMPTS // GENERATIONS * GROUP
    server.plan()
    made = run(ahead, ROUND)["round_1/rollouts"].rows["made"]
    assert made == (GENERATIONS - 2) * PROMPTS // GENERATIONS * GROUP


def test_a_killed_round_that_samples_ahead_ends_as_an_undisturbed_one(
    ahead: Path, server: Serving, empty_mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RFT_HOME", write_home(tmp_path / "undisturbed", empty_mlflow))
    undisturbed = run(ahead, SOURCES + ROUND)
    server.plan(delay=0.5)
    monkeypatch.setenv("RFT_HOME", str(tmp_path / "home"))
    run(ahead, SOURCES)
    home = Home.find()

    def at(what: str, generation: int) -> Callable[[], bool]:
        where = f"generation {generation} "
        return lambda: any(each.what.startswith(what) and where in each.within for each in read_progress(home.progress))

    _kill_when(lambda: _height(rollouts_table(home.store)) > 2 * PROMPTS // GENERATIONS * GROUP)  # while 2 is judged
    _kill_when(at("judgements", 3))
    _kill_when(at("steps", 4))
    records = run(ahead, ROUND)
    for name in ROUND:
        assert records[name].fingerprint == undisturbed[name].fingerprint
        assert records[name].content_hash == undisturbed[name].content_hash
    numbers = [each["round_1/checkpoints"].path("generations.jsonl").read_text() for each in (records, undisturbed)]
    assert numbers[0] == numbers[1]
