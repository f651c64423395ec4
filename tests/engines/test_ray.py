"""Workers on a local Ray cluster give what one engine gives, to the last bit, also when one is killed."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rft_pipeline.campaign import EngineRuntime, Sampling
from rft_pipeline.engines import Completion, GenerateRequest, ScoreRequest
from rft_pipeline.engines.base import Engine
from rft_pipeline.engines.load import load_engine
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.errors import ModelError
from tests.engines.plain import other_weights
from tests.tiny_campaign import TOPICS

SAMPLING = Sampling(max_new_tokens=12)
REQUESTS = [
    GenerateRequest(f"{topic}/{k}", (("user", f"Please help with the {topic}."),), 100 * k + i)
    for i, topic in enumerate(TOPICS)
    for k in range(2)
]
WORKER = {"batch_size": 4, "dtype": "float32", "device": "cpu"}


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[str]:
    """The folder of the session of a small local cluster."""
    import ray

    how = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80_000_000, "log_to_driver": False}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", logging_level="ERROR", _node_ip_address="127.0.0.1", **how)
        session = ray._private.worker._global_node.get_session_dir_path()
        yield session
        ray.shutdown()
    shutil.rmtree(session, ignore_errors=True)


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


def test_what_a_killed_worker_had_not_answered_is_sampled_again(two: Engine, one: TransformersEngine) -> None:
    import ray

    pool = two.pool  # type: ignore[attr-defined]
    found: dict[str, Completion] = {}
    pids: list[int] = []
    for batch in two.generate(REQUESTS, SAMPLING):
        found |= {done.request_id: done for done in batch}
        if not pids:
            worker, _ = next(iter(pool.running.values()))
            pids.append(ray.get(worker.pid.remote()))
            os.kill(pids[0], signal.SIGKILL)
    assert found == drawn(one)
    assert len(pool.workers) == 2


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


def _pid(engine: Engine) -> int:
    import ray

    return int(ray.get(engine.pool.workers[0].pid.remote()))  # type: ignore[attr-defined]
