"""Files that are edited while a stage waits or works."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline import models
from rft_pipeline.campaign import EngineRuntime, load_campaign
from rft_pipeline.engines import load
from rft_pipeline.errors import DataError, ModelError, StoreError
from rft_pipeline.pipeline import runner
from rft_pipeline.stages import STAGES
from rft_pipeline.stages.base import Output
from rft_pipeline.stages.job import Job
from rft_pipeline.store import Home, RecordStore, judgements_table, rollouts_table
from tests.runs import edit, run

SOURCES = ["prompts", "rubric", "policy"]


def add_prompt(folder: Path, split: str = "train") -> None:
    path = folder / "prompts" / f"{split}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": f"{split}-new", "prompt": "Please help with the new roof."}) + "\n")


def touch_weights(folder: Path) -> None:
    config = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    (folder / "generation_config.json").write_text(json.dumps({**config, "top_k": 7}), encoding="utf-8")


def own_policy(campaign: Path, tiny_model: Path) -> Path:
    """A copy of the tiny model as the campaign's policy, to be edited."""
    folder = Path(shutil.copytree(tiny_model, campaign / "policy"))
    edit(campaign / "campaign.yaml", "policy.model", "policy")
    return folder


def edited_while_made(monkeypatch: pytest.MonkeyPatch, stage: str, change: Callable[[], None]) -> None:
    """Let `change` happen once, after the stage has done its work."""
    run_stage, pending = STAGES[stage].run, [change]

    def then_edited(job: Job) -> Output:
        output = run_stage(job)
        if pending:
            pending.pop()()
        return output

    monkeypatch.setattr(STAGES[stage], "run", then_edited)


def test_prompts_that_change_while_they_are_read_are_refused_and_read_again_by_the_next_run(
    tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited_while_made(monkeypatch, "prompts", lambda: add_prompt(tiny_campaign))
    with pytest.raises(
        DataError, match=r"tiny/prompts: prompts\.train \(.*train\.jsonl\) changed while .*Run it again"
    ):
        run(tiny_campaign, ["prompts"])
    assert RecordStore(Home.find().store).current("tiny/prompts") is None
    assert run(tiny_campaign, ["prompts"])["prompts"].rows["train"] == 13


def test_a_policy_folder_that_changes_while_it_samples_is_refused_and_its_rollouts_stay(
    tiny_campaign: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = own_policy(tiny_campaign, tiny_model)
    run(tiny_campaign, SOURCES)
    edited_while_made(monkeypatch, "rollouts", lambda: touch_weights(policy))
    with pytest.raises(DataError, match=r"policy \(model policy\) changed"):
        run(tiny_campaign, ["round_1/rollouts"])
    assert rollouts_table(Home.find().store).rows().collect().height == 16
    with pytest.raises(StoreError, match="holds other weights than when tiny/policy was made; run tiny/policy first"):
        run(tiny_campaign, ["round_1/rollouts"])
    assert run(tiny_campaign, ["policy", "round_1/rollouts"])["round_1/rollouts"].rows["rollouts"] == 16


def edited_before_loading(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Let `change` happen once, between the hash of a model and its loading."""
    load_engine, pending = load.load_engine, [change]

    def loading(folder: Path, runtime: EngineRuntime) -> Any:
        if pending:
            pending.pop()()
        return load_engine(folder, runtime)

    monkeypatch.setattr(load, "load_engine", loading)


def test_a_policy_that_is_another_one_once_it_is_loaded_leaves_no_rollout(
    tiny_campaign: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = own_policy(tiny_campaign, tiny_model)
    run(tiny_campaign, SOURCES)
    edited_before_loading(monkeypatch, lambda: touch_weights(policy))
    with pytest.raises(ModelError, match="model policy changed while it was being loaded"):
        run(tiny_campaign, ["round_1/rollouts"])
    assert rollouts_table(Home.find().store).rows().collect().height == 0


def test_a_judge_that_is_another_one_once_it_is_loaded_leaves_no_judgement(
    tiny_campaign: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Path(shutil.copytree(tiny_model, tiny_campaign / "judge"))
    edit(tiny_campaign / "campaign.yaml", "judge.model", "judge")
    run(tiny_campaign, [*SOURCES, "round_1/rollouts"])
    edited_before_loading(monkeypatch, lambda: touch_weights(judge))
    with pytest.raises(ModelError, match="model judge changed while it was being loaded"):
        run(tiny_campaign, ["round_1/judge_scores"])
    stored = judgements_table(Home.find().store).rows().collect()
    rules = load_campaign(tiny_campaign).rubric.criteria[2:]
    assert set(stored["criterion"]) <= {criterion.question for criterion in rules}


def test_a_source_that_a_stage_is_not_made_from_may_change_meanwhile(
    tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tiny_campaign, SOURCES)
    edited_while_made(monkeypatch, "rollouts", lambda: add_prompt(tiny_campaign, "eval"))
    assert not run(tiny_campaign, ["round_1/rollouts"])["round_1/rollouts"].cached


def test_an_edit_made_while_a_stage_waits_for_another_run_counts(tiny_campaign: Path) -> None:
    campaign = load_campaign(tiny_campaign)
    home = Home.find()
    found: list[Any] = []
    with RecordStore(home.store).holding("tiny/prompts"):
        waiting = threading.Thread(target=lambda: found.append(runner.Pipeline(home).run(campaign, "prompts")))
        waiting.start()
        deadline = time.monotonic() + 30
        while not list(home.progress.glob("**/*")) and time.monotonic() < deadline:
            time.sleep(0.02)  # it says that it waits
        add_prompt(tiny_campaign)
    waiting.join()
    assert found[0].rows["train"] == 13
    assert run(tiny_campaign, ["prompts"])["prompts"].cached


def test_the_hash_of_weights_is_that_of_the_file_after_every_write(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    weights = folder / "model.safetensors"
    first = models.content_hash(folder)
    stamps = weights.stat().st_atime_ns, weights.stat().st_mtime_ns
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=stamps)  # same size, same time of change: only the inode's own time tells
    assert models.content_hash(folder) != first
    content[-1] ^= 1
    weights.write_bytes(content)
    assert models.content_hash(folder) == first
