"""Each kind of edit of a campaign in generations: whether an edit cycle begins, and what stays as it is."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from rft_pipeline.campaign import load_campaign
from rft_pipeline.campaign.cycles import contexts, load_current
from rft_pipeline.cli.show import rounds
from rft_pipeline.errors import ConfigError
from rft_pipeline.labels.exports import draw_export
from rft_pipeline.labels.files import write_export
from rft_pipeline.labels.importing import import_labels
from rft_pipeline.labels.policies import policies
from rft_pipeline.labels.reading import read_filled
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.pipeline.champion import roll_back
from rft_pipeline.pipeline.continuing import (
    Standing,
    leave_edit_cycles,
    load_and_begin,
    standing,
    without_edit_cycles,
)
from rft_pipeline.pipeline.edit_plan import plan_edit
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.progress import read_progress
from rft_pipeline.stages.promotion import decision_of
from rft_pipeline.store import Home, RecordStore, champions
from rft_pipeline.upkeep.gc import free, garbage
from tests.labels.sheets import filled
from tests.pipeline.continued import run_again, run_all, run_reports
from tests.pipeline.lab import assert_same_records
from tests.pipeline.stage_process import StageProcess
from tests.runs import edit
from tests.tiny_campaign import write_home
from tests.upkeep.small import said

TRAINING = ["round_1/rollouts", "round_1/judge_scores", "round_1/reward_batches", "round_1/checkpoints"]


def state(folder: Path) -> Standing:
    return standing(load_campaign(folder), Home.find())


def edit_weight(folder: Path, weight: float = 3.0) -> None:
    edit(folder / "rubric.yaml", "criteria.0.weight", weight)


def label(folder: Path) -> None:
    home = Home.find()
    path = write_export(draw_export(load_campaign(folder), home, 16), home.store, folder.parents[1], "csv")
    filled(path)
    import_labels(load_campaign(folder), home.store, read_filled(path), skip_wrong=False)


def reword(folder: Path, split: str) -> None:
    path = folder / "prompts" / f"{split}.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("lamp", "sofa"), encoding="utf-8")


STEERING: dict[str, tuple[Callable[[Path], None], str]] = {
    "text": (
        lambda folder: edit(folder / "rubric.yaml", "criteria.0.judge.positive", "You are formal."),
        'criterion "polite": text changed',
    ),
    "weight": (
        edit_weight,
        'criterion "polite": weight 1 → 3. Nothing stored is judged anew; then 1 generation of 8 rollouts from',
    ),
    "gate": (lambda folder: edit(folder / "rubric.yaml", "criteria.2.gate", 0.1), 'criterion "says_enough": gate'),
    "reward": (lambda folder: edit(folder / "campaign.yaml", "reward.clip", 2), "reward.clip: 3 → 2"),
    "labels": (label, "people's labels changed"),
}


@pytest.mark.parametrize("kind", STEERING)
def test_what_steers_begins_an_edit_cycle_and_a_second_run_makes_nothing(trained: Path, kind: str) -> None:
    change, words = STEERING[kind]
    change(trained)
    planned = plan_edit(standing(load_campaign(trained), Home.find()), Home.find())
    assert planned is not None
    assert words in planned.summary
    for stage in ("rubric", "labels"):  # `rft audit` makes them too
        Pipeline(Home.find()).run(load_campaign(trained), stage)
    later = plan_edit(standing(load_campaign(trained), Home.find()), Home.find())
    assert later is not None
    assert later.summary.partition("; about")[0] == planned.summary.partition("; about")[0]
    assert not {f"tiny/{name}" for name in TRAINING} & set(planned.reports.keys)
    made = run_again(trained)
    (cycle,) = contexts(load_campaign(trained), Home.find())
    assert cycle.finished
    assert made["round_1/rollouts"].payload["settings"]["continuation"]["start"] == made["policy"].content_hash
    assert plan_edit(standing(load_campaign(trained), Home.find()), Home.find()) is None
    steps = plan(load_current(Home.find(), "tiny"), Home.find()).steps
    assert [step.key for step in steps if step.action == "run"] == []


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: edit(folder / "campaign.yaml", "rollouts.sampling.temperature", 0.9),
        lambda folder: edit(folder / "campaign.yaml", "seed", 8),
        lambda folder: reword(folder, "train"),
    ],
    ids=["sampling", "seed", "prompts"],
)
def test_what_is_sampled_otherwise_makes_the_rounds_again_whatever_else_was_edited(
    trained: Path, change: Callable[[Path], None]
) -> None:
    change(trained)
    edit_weight(trained)
    assert state(trained).begins is None
    run = [step.key for step in plan(state(trained).campaign, Home.find()).steps if step.action == "run"]
    assert "tiny/round_1/rollouts" in run


def test_held_out_prompts_make_the_report_again_and_train_nothing(trained: Path) -> None:
    reword(trained, "eval")
    assert state(trained).begins is None
    made = run_all(load_and_begin(Home.find(), "tiny"))
    assert [made[name].cached for name in (*TRAINING, "round_1/eval_reports")] == [True] * 4 + [False]


def test_off_makes_the_report_and_the_promotion_and_trains_nothing(trained: Path) -> None:
    edit(trained / "campaign.yaml", "on_rubric_change", "off")
    edit_weight(trained)
    planned = plan(state(trained).campaign, Home.find())
    assert [step.key for step in planned.steps if step.action == "run"] == [
        "tiny/rubric",
        "tiny/round_1/eval_reports",
        "tiny/promotion",
    ]
    assert not {f"tiny/{name}" for name in TRAINING} & set(planned.keys)


def test_redo_equals_a_computation_from_an_empty_store(
    trained: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(trained / "campaign.yaml", "on_rubric_change", "redo")
    edit_weight(trained)
    champions.path_of(Home.find().root, "tiny").unlink()  # the promotion compares with the champion, if there is one
    again = run_all(load_and_begin(Home.find(), "tiny"))
    monkeypatch.setenv("RFT_HOME", write_home(trained.parents[1] / "empty", empty_mlflow))
    anew = run_all(load_and_begin(Home.find(), "tiny"))
    assert not again["round_1/checkpoints"].cached
    sources = ["prompts", "rubric", "policy", "labels"]
    assert_same_records({name: again[name] for name in sources}, {name: anew[name] for name in sources})
    assert [again[name].fingerprint for name in TRAINING[:1]] == [anew[name].fingerprint for name in TRAINING[:1]]
    # judgements that are found again were made in other batches, so the last digits of a score may differ
    batches, weights = ([made[name] for made in (again, anew)] for name in ("round_1/reward_batches", TRAINING[-1]))
    rows = [pl.read_parquet(each.path("reward_batches.parquet")) for each in batches]
    assert rows[0]["tokens"].to_list() == rows[1]["tokens"].to_list()
    assert rows[0]["reward"].to_list() == pytest.approx(rows[1]["reward"].to_list(), abs=1e-5)
    first, second = (load_file(each.path("checkpoint/model.safetensors")) for each in weights)
    gaps = torch.cat([(first[name].float() - second[name].float()).abs().flatten() for name in first])
    assert (gaps > 1e-6).float().mean() < 0.01  # a CPU that trains in bfloat16 rounds a few weights to the other side


def test_an_edit_during_an_unfinished_cycle_changes_that_cycle(trained: Path) -> None:
    edit_weight(trained)
    run_reports(trained)
    begun = load_and_begin(Home.find(), "tiny")
    made = {name: run_all(begun)[name] for name in TRAINING}
    (Home.find().root / "cycles" / "tiny" / "1" / "outcome.json").unlink()
    edit_weight(trained, 5.0)
    assert state(trained).begins is None
    again = run_all(load_and_begin(Home.find(), "tiny"))
    assert [cycle.number for cycle in contexts(load_campaign(trained), Home.find())] == [1]
    assert again["policy"].content_hash == made["round_1/rollouts"].payload["inputs"]["policy"]
    assert again["round_1/rollouts"].fingerprint != made["round_1/rollouts"].fingerprint


def test_without_a_champion_it_continues_from_the_checkpoint_that_the_report_names(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    champions.path_of(Home.find().root, "tiny").unlink()
    checkpoint = RecordStore(Home.find().store).current("tiny/round_1/checkpoints")
    assert checkpoint is not None
    edit_weight(trained)
    begins = state(trained).begins
    assert begins is not None
    assert begins.policy is not None
    assert begins.policy.address == checkpoint.address
    base = RecordStore(Home.find().store).current("tiny/policy")
    assert base is not None
    made = run_again(trained)
    inputs = made["promotion"].payload["inputs"]
    assert (inputs["base"], inputs["champion"]) == (checkpoint.content_hash, base.content_hash)
    assert made["promotion"].rows["made"] == 0, "base's held-out replies are stored"
    assert made["promotion"].upstream["champion"] == base.address
    assert decision_of(made["promotion"])["champion"] == "base"
    current = load_current(Home.find(), "tiny")
    assert list(policies(current, Home.find())) == ["start", "round-1", "champion"]
    rounds(Home.find(), current)
    said = " ".join(capsys.readouterr().out.split())
    assert f"start: the weights that this cycle trained from, {checkpoint.address}; they are no champion, so" in said
    assert "the promotion compares with base" in said
    assert run_all(load_current(Home.find(), "tiny"))["promotion"].cached
    champions.path_of(Home.find().root, "tiny").unlink()
    found = policies(current, Home.find())
    assert list(found) == ["base", "start", "round-1"], "the promotion sampled base"
    assert (found["base"].policy, found["base"].name) == (base.content_hash, "base")


def test_after_a_rollback_to_base_the_rounds_run_again(trained: Path) -> None:
    roll_back(load_campaign(trained), Home.find(), "too long")
    edit_weight(trained)
    assert state(trained).begins is None


def test_a_run_from_round_1_leaves_the_edit_cycle(trained: Path) -> None:
    home = Home.find()
    edit_weight(trained)
    run_again(trained)
    written = load_campaign(trained)
    with pytest.raises(ConfigError, match="round_2: tiny is in edit cycle 1, which has one round; `rft run tiny"):
        without_edit_cycles(written, home, 2)
    assert without_edit_cycles(written, home, 1) == written
    assert load_current(home, "tiny") != written
    assert leave_edit_cycles(written, home, 1) == load_current(home, "tiny") == written
    rollouts = run_all(written)["round_1/rollouts"]
    assert rollouts.payload["settings"]["continuation"] is None


def test_verify_reads_edit_cycles_and_gc_keeps_what_an_unfinished_one_continues(trained: Path) -> None:
    home = Home.find()
    edit_weight(trained)
    run_reports(trained)
    current = load_and_begin(home, "tiny")
    assert said("tiny") == []
    assert current.continuation is not None
    assert current.continuation.taken is not None
    for pointer in (home.store / "tiny").rglob("current"):
        pointer.unlink()
    champions.path_of(home.root, "tiny").unlink()
    with garbage(home, [load_current(home, "tiny")], None, free=True) as found:
        free(found)
    kept = (current.continuation.start.address, current.continuation.taken.address)
    assert all(RecordStore(home.store).at(address) for address in kept)
    shutil.rmtree(home.store / kept[0])
    assert ("error", "cycles/tiny/1/cycle.json", f"start {kept[0]} is missing or incomplete") in said("tiny")


@pytest.mark.shown
def test_mlflow_names_the_edit_cycle(trained: Path) -> None:
    from mlflow import MlflowClient

    edit_weight(trained)
    run_again(trained)
    client = MlflowClient(tracking_uri=Home.find().mlflow_uri)
    names = [run.info.run_name for run in client.search_runs(["1"])]
    assert "cycle 1 (edit) round 1" in names
    assert any(name.startswith("tiny · cycle 1 (edit) ") for name in names)


def test_a_killed_edit_cycle_ends_as_one_that_nobody_disturbed(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_weight(trained)
    run_reports(trained)
    load_and_begin(Home.find(), "tiny")
    other = trained.parents[1] / "other"
    shutil.copytree(Home.find().root, other)
    home = Home.find()
    sources = ["prompts", "rubric", "policy", "labels"]
    for what, generation in (("steps", "generation 1"), ("rollouts", "generation 2"), ("steps", "generation 2")):
        process = StageProcess([*sources, *TRAINING], rest=0.2)
        began = time.monotonic()
        while not any(r.what == what and generation in r.within for r in read_progress(home.progress)):
            assert time.monotonic() - began < 60
            time.sleep(0.02)
        process.kill()
    killed = run_all(load_and_begin(home, "tiny"))
    monkeypatch.setenv("RFT_HOME", str(other))
    undisturbed = run_all(load_and_begin(Home.find(), "tiny"))
    for name in TRAINING:
        assert killed[name].fingerprint == undisturbed[name].fingerprint
        assert killed[name].content_hash == undisturbed[name].content_hash
    numbers = [made["round_1/checkpoints"].path("generations.jsonl").read_text() for made in (killed, undisturbed)]
    assert numbers[0] == numbers[1]
    assert [json.loads(line)["generation"] for line in numbers[0].splitlines()] == [1, 2]
