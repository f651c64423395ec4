"""Groups that teach nothing are replaced by further prompts: as many as allowed, counted, the same after a kill."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.check import check_campaign
from rft_pipeline.cli.show import report_summary
from rft_pipeline.errors import ConfigError
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.rewards.batch import NO_VARIANCE
from rft_pipeline.stages.generations import _Loop
from rft_pipeline.stages.refilling import Refill
from rft_pipeline.store import Home, Record
from tests.runs import edit, made, run
from tests.tiny_campaign import write_home

SOURCES = ["prompts", "rubric", "policy"]
ROUND = ["round_1/rollouts", "round_1/judge_scores", "round_1/reward_batches", "round_1/checkpoints"]
FLAT = ("lamp", "desk", "parcel", "price", "answer", "number")
"""Train prompts about these get the same score for each reply, the other six a score of the reply's own."""
OWN = f"""
import hashlib

def own(rollout):
    if any(f"the {{topic}}." in rollout.prompt for topic in {FLAT}):
        return 0.5
    return int(hashlib.sha256(rollout.completion.encode()).hexdigest()[:8], 16) / 16**8
"""


def refilled(folder: Path, most: int = 2) -> Path:
    (folder / "own.py").write_text(OWN, encoding="utf-8")
    own = {"protocol": "rule", "rule": {"name": "python", "function": "own:own"}}
    edit(folder / "rubric.yaml", "criteria", [{"name": "own", "judge": own}])
    for where, value in {"rollouts.refill": most, "reward.min_group_share": 0.0, "rounds": 1}.items():
        edit(folder / "campaign.yaml", where, value)
    return folder


def table_of(record: Record) -> pl.DataFrame:
    return pl.read_parquet(record.path(f"{record.payload['stage']}.parquet"))


def warnings(folder: Path) -> str:
    return "\n".join(check_campaign(folder, Home.find().models, Home.find().store).warnings)


def test_groups_without_variance_are_replaced_by_further_prompts_and_counted(on_policy: Path) -> None:
    records = run(refilled(on_policy))
    batch = table_of(records["round_1/reward_batches"])
    spare, counts = 4, []
    for number in range(1, 5):
        groups = batch.filter(generation=number).group_by("prompt_id", maintain_order=True)
        flat = [set(rows["excluded"]) == {NO_VARIANCE} for _, rows in groups]
        wanted, taken = sum(flat[:2]), 0  # as the prompts were drawn: two, then one for each flat group
        while step := min(wanted, 2 - taken, spare):
            wanted = sum(flat[2 + taken : 2 + taken + step])
            taken, spare = taken + step, spare - step
        assert len(flat) == 2 + taken
        counts.append(taken)
    assert 0 < sum(counts) <= 4
    assert batch["prompt_id"].n_unique() == 8 + sum(counts) == batch.height / 4
    checkpoint, report = records["round_1/checkpoints"], records["round_1/eval_reports"]
    lines = [json.loads(line) for line in checkpoint.path("generations.jsonl").open()]
    assert [line["refilled"] for line in lines] == counts
    for stage in ("rollouts", "reward_batches"):
        assert records[f"round_1/{stage}"].rows["refilled"] == sum(counts)
    assert json.loads(report.path("report.json").read_text())["rounds"][1]["refilled"] == sum(counts)
    (told,) = report_summary(Home.find(), load_campaign(on_policy))["generations"]
    assert told["refilled"] == sum(counts)
    assert checkpoint.rows["steps"] <= 4
    assert made(run(on_policy)) == []


def test_a_round_killed_while_it_is_refilled_ends_as_one_that_nobody_disturbed(
    on_policy: Path, empty_mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = refilled(on_policy)
    undisturbed = run(folder, SOURCES + ROUND)
    monkeypatch.setenv("RFT_HOME", write_home(tmp_path / "again", empty_mlflow))
    run(folder, SOURCES)
    fill = Refill.fill

    def before_judging(loop: Any, file: str, rows: pl.DataFrame) -> pl.DataFrame:
        assert file.startswith("refill-")
        raise KeyboardInterrupt

    def after_refilling(refill: Refill, *args: Any, **kwargs: Any) -> Any:
        found = fill(refill, *args, **kwargs)
        if len(refill.taken) == 3:
            raise KeyboardInterrupt
        return found

    for owner, name, killing in ((_Loop, "_judge", before_judging), (Refill, "fill", after_refilling)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, killing)
            with pytest.raises(KeyboardInterrupt):
                run(folder, ROUND)
    records = run(folder, ROUND)
    assert not records[ROUND[0]].cached
    assert {name: each.content_hash for name, each in records.items()} == {
        name: undisturbed[name].content_hash for name in ROUND
    }


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("training.steps_per_generation", None, "the round is sampled at once"),
        ("training.method", "dpo", "dpo compares each pair"),
        ("training.generations_ahead", 1, "with training.generations_ahead"),
    ],
)
def test_check_says_where_refilling_does_not_apply(on_policy: Path, key: str, value: Any, why: str) -> None:
    folder = refilled(on_policy)
    edit(folder / "campaign.yaml", key, value)
    if value == "dpo":
        edit(folder / "campaign.yaml", "training.steps_per_generation", None)
    with pytest.raises(ConfigError, match=f"rollouts.refill: 2 does not apply: {why}"):
        check_campaign(folder, Home.find().models, Home.find().store)


def test_check_says_when_there_are_no_further_prompts(on_policy: Path) -> None:
    folder = refilled(on_policy)
    assert "rollouts.refill" not in warnings(folder)
    edit(folder / "campaign.yaml", "rollouts.prompts_per_round", 12)
    assert "rollouts.refill: 2, but each round draws all 12 train prompts" in warnings(folder)


def test_the_plan_names_the_least_and_the_most(on_policy: Path) -> None:
    campaign = load_campaign(refilled(on_policy))
    assert campaign.generations is not None
    steps = {step.key: step for step in plan(campaign, Home.find()).steps}
    rollouts, further = steps["tiny/round_1/rollouts"], campaign.generations.count * 2 * campaign.rollouts.group_size
    most = rollouts.work["rollouts"] + further
    assert rollouts.reasons[-1] == f"up to {further} more rollouts, in place of groups without variance"
    assert rollouts.ranges == {"rollouts": (rollouts.work["rollouts"], most)}
    assert {high for _, high in steps["tiny/round_1/judge_scores"].ranges.values()} == {most}
