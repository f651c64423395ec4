"""What trace, verify and gc know of a round that was made in generations."""

from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.cli.show_trace import traced
from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.trace_record import RecordTrace
from rft_pipeline.lineage.trace_rows import RolloutTrace
from rft_pipeline.store import Home
from tests.runs import edit, run
from tests.upkeep.small import collected, said


@pytest.fixture(scope="module")
def in_generations(on_policy_once: Path) -> Path:
    """The tiny campaign with one round in generations, all of it made."""
    edit(on_policy_once / "campaign.yaml", "rounds", 1)
    run(on_policy_once)
    return on_policy_once


def test_a_rollout_names_its_generation_and_the_policy_that_sampled_it(in_generations: Path) -> None:
    records = run(in_generations)
    rows = pl.read_parquet(records["round_1/rollouts"].path("rollouts.parquet"))
    first, third = (rows.filter(generation=number).row(0, named=True) for number in (1, 3))
    found = trace(Home.find(), third["rollout_id"])
    assert isinstance(found, RolloutTrace)
    assert (found.rollout.generation, found.rollout.policy) == (3, third["policy"])
    assert found.rollout.records == (records["round_1/rollouts"].address,)
    assert found.trained == (records["round_1/checkpoints"].address,)
    start = trace(Home.find(), first["rollout_id"])
    assert isinstance(start, RolloutTrace)
    assert start.rollout.policy_records == (records["policy"].address,)


def test_a_checkpoint_says_in_how_many_generations_it_was_made(in_generations: Path) -> None:
    records = run(in_generations)
    found = trace(Home.find(), records["round_1/checkpoints"].address)
    assert isinstance(found, RecordTrace)
    assert found.chain[0].generations == 4
    traced(found)


def test_verify_finds_nothing_and_gc_frees_nothing(in_generations: Path) -> None:
    assert said("tiny") == []
    kept = collected(yes=True)
    assert not kept.records
    assert all(record.cached for record in run(in_generations).values())
    assert load_campaign(in_generations).generations is not None
