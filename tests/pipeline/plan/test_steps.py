"""What would run, and why, in the tiny campaign of two rounds of 4 prompts × 4 rollouts and 4 criteria."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.pipeline.plan import Change, Rows, Step, as_json, changes, plan
from rft_pipeline.pipeline.plan.node_plans import node_plans
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.stages.graph import payload
from rft_pipeline.store import Home, Record, RecordStore, rollouts_table
from rft_pipeline.trainers.kept import prepare
from tests.runs import edit, run

EARLIER = "an earlier stage runs: "


def planned(folder: Path) -> dict[str, Step]:
    steps = plan(load_campaign(folder), Home.find(), start=1).steps
    return {step.key.removeprefix("tiny/"): step for step in steps}


def running(steps: dict[str, Step]) -> list[str]:
    return [name for name, step in steps.items() if step.action == "run"]


def test_a_cycle_names_the_checkpoint_that_it_starts_from() -> None:
    (change,) = changes(
        {"settings": {"model": "embedded"}},
        {"settings": {"model": "checkpoint:tiny/round_1/checkpoints/0123456789abcdef"}},
    )
    assert change.in_words() == "starts from tiny/round_1/checkpoints"
    (called,) = changes({"settings": {}}, {"settings": {"policy_called": "start"}})
    assert called.in_words() == "training starts from another policy"


def test_an_input_that_changed_is_said_in_words() -> None:
    before, after = ({"inputs": {"judge_scores_2": n, "checkpoints_1": n, "eval_reports": n}} for n in ("a", "b"))
    assert [change.in_words() for change in changes(before, after)] == [
        "the checkpoint of round 1 changed",
        "the eval report changed",
        "the judgements of round 2 changed",
    ]


def test_before_the_first_run_everything_would_be_made(tiny_campaign: Path) -> None:
    steps = planned(tiny_campaign)
    assert running(steps) == list(steps)
    assert len(steps) == 5 + 2 * 5
    assert steps["prompts"].reasons == ["never made"]
    assert steps["round_1/rollouts"].reasons == [f"{EARLIER}prompts", f"{EARLIER}policy"]
    assert steps["round_2/rollouts"].reasons == [
        f"{EARLIER}prompts",
        f"{EARLIER}round_1/checkpoints",
    ]
    assert steps["round_1/checkpoints"].reasons == [
        f"{EARLIER}policy",
        f"{EARLIER}round_1/reward_batches",
    ]
    assert steps["round_1/rollouts"].rows == Rows(make=16, have=0)
    assert steps["round_1/judge_scores"].rows == Rows(make=64, have=0)
    assert steps["round_1/checkpoints"].rows == Rows(make=2, have=0)
    assert steps["round_1/checkpoints"].ranges == {"steps": (1, 2)}


def test_after_a_run_everything_would_be_skipped(finished_home: Path) -> None:
    steps = planned(finished_home)
    assert running(steps) == []
    assert all(step.reasons == [] and step.rows.make == 0 for step in steps.values())
    assert steps["round_2/judge_scores"].rows == Rows(make=0, have=64)


def test_planning_makes_and_changes_nothing(finished_copy: Path) -> None:
    home = Home.find().root
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    edit(finished_copy / "rubric.yaml", "criteria.0.weight", 3)
    planned(finished_copy)
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


def test_another_persona_judges_one_criterion_again_and_samples_nothing(finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.0.judge.positive", "You are a very warm and kind agent.")
    edit(finished_copy / "rubric.yaml", "criteria.0.judge.negative", "You are very cold.")
    steps = planned(finished_copy)
    assert steps["round_1/rollouts"].action == "skip"
    assert steps["round_1/judge_scores"].reasons == ['criterion "polite": text changed']
    assert steps["round_1/judge_scores"].rows == Rows(make=16, have=48)
    assert steps["round_1/reward_batches"].reasons == [f"{EARLIER}round_1/judge_scores"]
    assert steps["round_2/rollouts"].reasons == [f"{EARLIER}round_1/checkpoints"]
    assert steps["round_2/judge_scores"].rows == Rows(make=64, have=0)


def test_another_weight_makes_no_judgements(finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.3.weight", 1)
    steps = planned(finished_copy)
    assert running(steps)[:3] == ["rubric", "round_1/reward_batches", "round_1/checkpoints"]
    assert steps["rubric"].reasons == ['criterion "has_an_e": weight 0.5 → 1']
    assert steps["round_1/reward_batches"].reasons == steps["rubric"].reasons  # not the shares of all criteria


@pytest.mark.parametrize(
    ("where", "value", "stage", "reason"),
    [
        ("rollouts.sampling.temperature", 0.7, "round_1/rollouts", "sampling.temperature: 1 → 0.7"),
        ("training.learning_rate", 1e-4, "round_1/checkpoints", "learning_rate: 0.001 → 0.0001"),
        ("reward.clip", 2, "round_1/reward_batches", "clip: 3 → 2"),
        ("evaluation.resamples", 200, "round_1/eval_reports", "resamples: 100 → 200"),
        ("policy.system", "You are kind.", "round_1/rollouts", "system: You are a support agent. → You are kind."),
    ],
)
def test_a_reason_names_the_setting_and_both_values(
    finished_copy: Path, where: str, value: object, stage: str, reason: str
) -> None:
    edit(finished_copy / "campaign.yaml", where, value)
    steps = planned(finished_copy)
    assert running(steps)[0] == stage
    assert steps[stage].reasons == [reason]


def test_an_added_or_removed_criterion_is_named(finished_copy: Path) -> None:
    extra = {"name": "asks", "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": "[?]"}}}
    edit(finished_copy / "rubric.yaml", "criteria.3", extra)
    step = planned(finished_copy)["round_1/judge_scores"]
    assert step.reasons == ['criterion "asks": new', 'criterion "has_an_e": gone']
    assert step.rows == Rows(make=16, have=48)


def test_another_prompts_file_is_a_changed_input(finished_copy: Path) -> None:
    path = finished_copy / "prompts" / "train.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("lamp", "sofa"), encoding="utf-8")
    assert planned(finished_copy)["prompts"].reasons == ["the train prompts changed"]


def test_files_that_are_gone_are_a_reason(finished_copy: Path) -> None:
    record = RecordStore(Home.find().store).current("tiny/round_1/reward_batches")
    assert record is not None
    record.path("reward_batches.parquet").unlink()
    assert planned(finished_copy)["round_1/reward_batches"].reasons == ["files of its record are missing"]


def test_a_partly_filled_table_leaves_the_rest_to_make(
    finished: Path, tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = run(tiny_campaign, ["prompts", "policy"])["policy"].content_hash
    made = rollouts_table(finished / "home" / "store").rows(pl.col("policy") == policy).collect()
    chosen = RecordStore(finished / "home" / "store").current("tiny/round_1/rollouts")
    assert chosen is not None
    first = pl.read_parquet(chosen.path("rollouts.parquet"))["rollout_id"].head(5)
    rollouts_table(Home.find().store).append(made.filter(pl.col("rollout_id").is_in(first.implode())))
    step = planned(tiny_campaign)["round_1/rollouts"]
    assert (step.action, step.reasons, step.rows) == ("run", ["never made"], Rows(make=11, have=5))


def test_rollouts_without_their_record_count_as_existing(finished_copy: Path) -> None:
    shutil.rmtree(Home.find().store / "tiny" / "round_1" / "rollouts")
    assert planned(finished_copy)["round_1/rollouts"].rows == Rows(make=0, have=16)


def test_as_json_a_plan_is_a_list_of_stages(finished_copy: Path) -> None:
    edit(finished_copy / "campaign.yaml", "reward.clip", 2)
    stages = json.loads(json.dumps(as_json(plan(load_campaign(finished_copy), Home.find()))))["stages"]
    assert stages[0] == {
        "key": "tiny/prompts",
        "action": "skip",
        "reasons": [],
        "rows": {"make": 0, "have": 1},
        "work": {},
        "ranges": {},
        "made_up_of": [],
        "cause": None,
        "seconds": 0.0,
    }
    seconds = stages[6].pop("seconds")
    assert seconds >= 0
    assert stages[6] == {
        "key": "tiny/round_1/reward_batches",
        "action": "run",
        "reasons": ["clip: 3 → 2"],
        "rows": {"make": 1, "have": 0},
        "work": {"reward_batches": 1},
        "ranges": {},
        "made_up_of": [],
        "cause": "edit",
    }


def test_a_plan_needs_none_of_the_heavy_libraries(finished_home: Path) -> None:
    code = (
        "import sys\n"
        "from rft_pipeline.campaign import load_campaign\n"
        "from rft_pipeline.pipeline.plan import plan\n"
        "from rft_pipeline.store import Home\n"
        f"print(len(plan(load_campaign(Home.find().data / {finished_home.name!r}), Home.find()).steps))\n"
        "heavy = {'torch', 'transformers', 'trl', 'mlflow', 'dagster', 'sklearn', 'scipy', 'altair', 'datasets'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["15", "[]"]


@pytest.mark.parametrize("method", ["grpo", "raft", "dpo"])
def test_the_planned_steps_are_those_that_training_takes(finished_copy: Path, method: str) -> None:
    edit(finished_copy / "campaign.yaml", "training.method", method)
    edit(finished_copy / "campaign.yaml", "training.dpo.margin", 0)
    edit(finished_copy / "campaign.yaml", "training.batch_size", 12 if method == "grpo" else 3)
    expected = planned(finished_copy)["round_1/checkpoints"].work["steps"]
    assert run(finished_copy, ["round_1/checkpoints"])["round_1/checkpoints"].rows["steps"] == expected


def round_1_to_be_trained(folder: Path) -> tuple[Record, Path]:
    """After an edit round 1 has a batch and no checkpoint: the batch's record, and where training keeps its state."""
    edit(folder / "campaign.yaml", "training.learning_rate", 0.002)
    edit(folder / "campaign.yaml", "training.epochs", 8)
    campaign, home = load_campaign(folder), Home.find()
    records = RecordStore(home.store)
    settled = node_plans(campaign, records, source_hashes(campaign, home, fetch=False))
    (found,) = (each for each in settled if each.node.name == "round_1/checkpoints")
    made_from = payload(campaign, found.node, found.known, source_hashes(campaign, home, fetch=False))
    return found.known["reward_batches"], records.kept(found.node.key, fingerprint(made_from))


def test_steps_that_a_killed_training_saved_count_as_existing(finished_copy: Path) -> None:
    _, kept = round_1_to_be_trained(finished_copy)
    every = planned(finished_copy)["round_1/checkpoints"].rows.make
    prepare(kept, load_campaign(finished_copy).training)
    (kept / "checkpoint-3").mkdir()
    (kept / "checkpoint-3" / "trainer_state.json").write_text("{}", encoding="utf-8")
    assert planned(finished_copy)["round_1/checkpoints"].rows == Rows(make=every - 3, have=3)


def test_a_batch_that_training_will_refuse_is_named(finished_copy: Path) -> None:
    batch, _ = round_1_to_be_trained(finished_copy)
    file = batch.path("reward_batches.parquet")
    pl.read_parquet(file).with_columns(excluded=pl.lit("group without variance")).write_parquet(file)
    step = planned(finished_copy)["round_1/checkpoints"]
    assert step.rows.make == 0
    assert step.reasons[-1] == "will fail: the reward batch has no group with variance: nothing to learn from"


def lines(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [f"{'.'.join(each.path)}: {each.what(40)}" for each in changes(old, new)]


def test_changes_name_the_path_and_both_values() -> None:
    old = {"a": 1, "b": {"c": "x", "d": 0.123456}, "gone": 1, "list": [1, 2], "text": "y" * 50}
    new = {"a": 1, "b": {"c": "z", "d": 0.2}, "new": 1, "list": [1], "text": "z" * 50}
    assert lines(old, new) == [
        "b.c: x → z",
        "b.d: 0.1235 → 0.2",
        "gone: gone",
        "list: [1, 2] → [1]",
        "new: new",
        f"text: {'y' * 37}… → {'z' * 37}…",
    ]


def test_named_entries_are_compared_by_name_and_their_order_counts() -> None:
    a, b = {"name": "a", "x": 1}, {"name": "b", "x": 2}
    assert lines({"all": [a, b]}, {"all": [a, {"name": "b", "x": 3}]}) == ["all.b.x: 2 → 3"]
    assert len(changes({"all": [a, b]}, {"all": [b, a]})) == 1


@pytest.mark.parametrize(
    ("path", "of_rubric"),
    [
        (("settings", "weights", "polite"), True),
        (("settings", "criterion_weights", "polite"), True),
        (("settings", "weights"), False),  # full weights or an adapter
        (("settings", "learning_rate"), False),
        (("inputs", "labels"), True),
        (("inputs", "rollouts"), False),
    ],
)
def test_a_criterions_weight_is_of_the_rubric_and_the_kind_of_weights_is_not(
    path: tuple[str, ...], of_rubric: bool
) -> None:
    assert Change(path, "changed", 1, 2).of_rubric == of_rubric
