"""One tiny campaign for real: vLLM draws the rollouts, judges them and evaluates, and Dagster runs it."""

from pathlib import Path

import polars as pl
import psutil

from rft_pipeline.campaign import load_campaign
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home, RecordStore
from tests.assets.small import materialize
from tests.runs import edit
from tests.vllm import NEEDS_VLLM

pytestmark = NEEDS_VLLM

RUNTIME = {"engine": "vllm", "batch_size": 16, "dtype": "float32", "device": "cpu", "memory_share": 0.1}


def test_a_campaign_on_vllm_and_a_second_run_on_transformers_that_makes_nothing(tiny_campaign: Path) -> None:
    edit(tiny_campaign / "campaign.yaml", "rounds", 1)
    for part in ("rollouts", "judge", "evaluation"):
        edit(tiny_campaign / "campaign.yaml", f"{part}.runtime", RUNTIME)
    assert materialize(tiny_campaign).success
    assert not [process for process in psutil.Process().children(recursive=True) if "VLLM" in process.name()]

    records = RecordStore(Home.find().store)
    first = {node.name: records.current(node.key) for node in nodes(load_campaign(tiny_campaign))}
    rollouts, trained = first["round_1/rollouts"], first["round_1/checkpoints"]
    assert rollouts is not None
    assert trained is not None
    assert rollouts.rows == {"prompts": 4, "rollouts": 16, "made": 16}
    assert trained.metrics["logprob_gap_mean"] < 0.02
    assert trained.metrics["logprob_gap_mean"] <= trained.metrics["logprob_gap_p99"]
    scores = first["round_1/judge_scores"]
    assert scores is not None
    assert pl.read_parquet(scores.path("judge_scores.parquet"))["status"].unique().to_list() == ["scored"]

    for part in ("rollouts", "judge", "evaluation"):
        edit(tiny_campaign / "campaign.yaml", f"{part}.runtime", {"engine": "transformers", "device": "cpu"})
    assert materialize(tiny_campaign).success
    assert first == {name: records.current(record.key) for name, record in first.items() if record}
