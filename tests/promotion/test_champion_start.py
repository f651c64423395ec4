"""Campaigns that start from a champion, and champions that another campaign trained."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.check import check_campaign
from rft_pipeline.errors import ConfigError, ModelError
from rft_pipeline.pipeline.champion import promote
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.stages.graph import code_versions
from rft_pipeline.stages.promotion import decision_of
from rft_pipeline.store import Home, champions, rollouts_table
from tests.promotion.small import champion, record, started_from_champion, to_run
from tests.runs import edit, engines_counted, run
from tests.upkeep.small import collected

JUDGED = ("polite", "relevant", "says_enough", "has_an_e")


def test_a_campaign_starts_from_the_champion_and_another_champion_makes_it_stale(finished_copy: Path) -> None:
    second = started_from_champion(finished_copy)
    first = run(second)
    start = record("tiny/round_1/checkpoints")
    assert first["policy"].content_hash == start.content_hash
    assert first["policy"].upstream == {"checkpoint": start.address}
    assert to_run(second) == []
    versions = code_versions(load_campaign(second), champion().content_hash)
    promote(load_campaign(finished_copy), Home.find(), 2, force=True, why="reads better")
    assert "second/policy" in to_run(second)
    assert record("second/policy").address == first["policy"].address
    now = code_versions(load_campaign(second), champion().content_hash)
    assert all(now[name] != versions[name] for name in ("policy", "round_1/rollouts", "promotion"))
    assert now["prompts"] == versions["prompts"]


def test_the_check_reads_the_champion_that_a_campaign_starts_from(finished_copy: Path) -> None:
    second = started_from_champion(finished_copy)
    assert check_campaign(second, Home.find().models, Home.find().store).campaign.policy.model == "champion:tiny"
    edit(second / "campaign.yaml", "rollouts.sampling.max_new_tokens", 100_000)
    with pytest.raises(ConfigError, match=r"policy\.model champion:tiny has a context of"):
        check_campaign(second, Home.find().models, Home.find().store)
    edit(second / "campaign.yaml", "judge.model", "champion:absent")
    with pytest.raises(ConfigError, match=r"judge\.model: model champion:absent: campaign absent has no champion yet"):
        check_campaign(second, Home.find().models, Home.find().store)


def test_a_campaign_that_starts_from_a_missing_champion_is_refused(finished_copy: Path) -> None:
    second = started_from_champion(finished_copy)
    champions.path_of(Home.find().root, "tiny").unlink()
    with pytest.raises(ModelError, match="campaign tiny has no champion yet; `rft run tiny`"):
        run(second)
    with pytest.raises(ConfigError, match=r"policy\.model: model champion:tiny: campaign tiny has no champion yet"):
        check_campaign(second, Home.find().models, Home.find().store)
    assert "second/policy" in to_run(second)


def test_a_champion_from_elsewhere_is_sampled_and_judged_here(finished_copy: Path) -> None:
    home = Home.find()
    now = champions.history(home.root, "tiny")[-1]
    edit(finished_copy / "campaign.yaml", "seed", 11)
    planned = {step.key: step for step in plan(load_campaign(finished_copy), home).steps}["tiny/promotion"]
    assert planned.work == {"promotion": 1, "rollouts": 6} | {f"judgements of {name}": 6 for name in JUDGED}
    assert "compares with the champion, which is not in the report: its replies are judged too" in planned.reasons
    records = run(finished_copy)
    found = records["promotion"]
    assert found.payload["inputs"]["champion"] == now.content_hash
    assert found.upstream["champion"] == now.record
    assert found.rows["made"] == 6
    assert to_run(finished_copy) == []
    collected(yes=True)
    theirs = pl.read_parquet(found.path("promotion.parquet"))
    assert rollouts_table(home.store).missing(theirs.select("rollout_id")).is_empty()
    shutil.rmtree(found.folder)
    with engines_counted() as loaded:
        again = run(finished_copy, ["promotion"])["promotion"]
    assert (again.content_hash, loaded) == (found.content_hash, [])


def test_the_held_out_judge_judges_a_champion_from_elsewhere_too(finished_copy: Path) -> None:
    judge = {"protocol": "rule", "rule": {"name": "length", "min_words": 3}}
    watched = {"resamples": 100, "held_out": [{"name": "says_something", "judge": judge}]}
    edit(finished_copy / "campaign.yaml", "alarms", watched)
    edit(finished_copy / "campaign.yaml", "seed", 11)
    found = run(finished_copy)["promotion"]
    assert found.rows["made"] == 6
    theirs = pl.read_parquet(found.path("promotion.parquet"))
    assert theirs["held_out"].null_count() == 0
    for each in decision_of(found)["rounds"]:
        (bound,) = (bound for bound in each["bounds"] if bound["name"] == "alarms' judge")
        assert bound["found"] is not None, bound["said"]
