"""Workers on a running Ray cluster give what one engine gives, to the last bit, also when one is killed."""

import json
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from rft_pipeline.campaign import EngineRuntime, Sampling
from rft_pipeline.engines import Completion, GenerateRequest, ScoreRequest
from rft_pipeline.engines.base import Engine
from rft_pipeline.engines.load import load_engine
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.errors import ModelError
from rft_pipeline.store import Home, Record, judgements_table, rollouts_table
from tests.clusters import ray_cluster
from tests.engines.plain import other_weights
from tests.pipeline.lab import assert_same_records
from tests.runs import edit, run
from tests.tiny_campaign import TOPICS

pytestmark = pytest.mark.waits

SAMPLING = Sampling(max_new_tokens=12)
REQUESTS = [
    GenerateRequest(f"{topic}/{k}", (("user", f"Please help with the {topic}."),), 100 * k + i)
    for i, topic in enumerate(TOPICS)
    for k in range(2)
]
WORKER = {"batch_size": 4, "dtype": "float32", "device": "cpu"}


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[str]:
    with ray_cluster() as address:
        yield address


@pytest.fixture(scope="module")
def two(cluster: str, tiny_model: Path) -> Iterator[Engine]:
    engine = load_engine(tiny_model, EngineRuntime.model_validate({"engine": "ray", "workers": 2, "worker": WORKER}))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def one(tiny_model: Path) -> TransformersEngine:
    return TransformersEngine(tiny_model, EngineRuntime.model_validate(WORKER))


def drawn(engine: Engine) -> dict[str, Completion]:
    found = [done for batch in engine.generate(REQUESTS, SAMPLING) for done in batch]
    assert len(found) == len(REQUESTS)
    return {done.request_id: done for done in found}


def test_two_workers_sample_and_score_what_one_engine_does(two: Engine, one: TransformersEngine) -> None:
    assert drawn(two) == drawn(one)
    requests = [ScoreRequest(tuple(range(5, 5 + n)), (7, 8), candidates=(9,)) for n in range(1, 12)]
    assert two.score(requests) == one.score(requests)
    assert list(two.score_parts([requests[:5], [], requests[5:]])) == list(
        one.score_parts([requests[:5], [], requests[5:]])
    )


def test_new_weights_reach_all_workers_also_later_ones(
    two: Engine, one: TransformersEngine, tiny_model: Path, tmp_path: Path
) -> None:
    before, weights = drawn(one), other_weights(tiny_model, tmp_path)
    for engine in (one, two):
        engine.take_weights(weights.items())
    os.kill(_pid(two), signal.SIGKILL)
    assert drawn(two) == drawn(one) != before
    with pytest.raises(ModelError, match="missing"):
        two.take_weights(list(weights.items())[:1])


SOURCES = ["prompts", "rubric", "policy"]
ROUND = ["round_1/rollouts", "round_1/judge_scores", "round_1/reward_batches", "round_1/checkpoints"]


def on_ray(workers: int) -> dict[str, object]:
    return {"engine": "ray", "workers": workers, "worker": WORKER}


@pytest.fixture(scope="module")
def in_process(on_policy_once: Path) -> tuple[dict[str, Record], list[pl.DataFrame]]:
    """The records and the rows of a round in generations that one engine in this process samples and judges."""
    return run(on_policy_once, SOURCES + ROUND), rows_of_tables()


def rows_of_tables() -> list[pl.DataFrame]:
    store = Home.find().store
    return [table.rows().collect().sort(table.key) for table in (rollouts_table(store), judgements_table(store))]


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Kills the worker that has the first piece of the second generation; its process id."""
    import ray

    from rft_pipeline.engines.ray import RayEngine
    from rft_pipeline.engines.ray_workers import Pool

    take_weights, hand_out = RayEngine.take_weights, Pool._hand_out
    victims: list[tuple[object, int]] = []
    pids: list[int] = []

    def taking(self: RayEngine, weights: Iterable[tuple[str, Any]]) -> None:
        take_weights(self, weights)
        if not victims:
            worker = self.pool.idle[0]
            victims.append((worker, ray.get(worker.pid.remote())))

    def handing_out(self: Pool) -> None:
        hand_out(self)
        for worker, pid in victims:
            if not pids and any(worker is busy for busy, _ in self.running.values()):
                os.kill(pid, signal.SIGKILL)
                pids.append(pid)

    monkeypatch.setattr(RayEngine, "take_weights", taking)
    monkeypatch.setattr(Pool, "_hand_out", handing_out)
    return pids


def test_a_round_in_generations_and_its_judge_on_ray_make_the_records_and_rows_of_one_engine(
    in_process: tuple[dict[str, Record], list[pl.DataFrame]], on_policy: Path, killed: list[int]
) -> None:
    edit(on_policy / "campaign.yaml", "rollouts.runtime", on_ray(workers=2))
    edit(on_policy / "campaign.yaml", "judge.runtime", on_ray(workers=1))
    records, (rollouts, judgements) = run(on_policy, SOURCES + ROUND), rows_of_tables()
    assert len(killed) == 1
    assert_same_records(records, in_process[0])
    assert_frame_equal(rollouts, in_process[1][0])
    assert_frame_equal(judgements, in_process[1][1])


def test_two_processes_train_what_two_workers_sample(on_policy: Path) -> None:
    edit(on_policy / "campaign.yaml", "rollouts.runtime", on_ray(workers=2))
    edit(on_policy / "campaign.yaml", "training.runtime.processes", 2)
    edit(on_policy / "campaign.yaml", "training.learning_rate", 0.01)
    records = run(on_policy, SOURCES + ROUND)
    checkpoint = records["round_1/checkpoints"]
    assert any(json.loads(line)["steps"] for line in checkpoint.path("generations.jsonl").open())
    rows = pl.read_parquet(records["round_1/rollouts"].path("rollouts.parquet")).filter(generation=4)
    both = rows.select("rollout_id", "logprobs").join(
        pl.read_parquet(checkpoint.path("logprobs.parquet")), on="rollout_id"
    )
    # if a worker had the weights of an earlier generation, its log-probs would differ from the trainer's
    gap = both.explode("logprobs", "old_logprobs").select((pl.col("logprobs") - pl.col("old_logprobs")).abs().mean())
    assert gap.item() < 0.05


def _pid(engine: Engine) -> int:
    import ray

    return int(ray.get(engine.pool.workers[0].pid.remote()))  # type: ignore[attr-defined]
