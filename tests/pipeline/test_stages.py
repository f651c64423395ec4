"""What single stages make of their inputs, beyond the plain case."""

import json
from pathlib import Path

import pytest
import yaml

from rft_pipeline.campaign import EngineRuntime
from rft_pipeline.engines import load
from rft_pipeline.engines.base import Engine
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.errors import GateError
from rft_pipeline.stages import STAGES
from rft_pipeline.store import Home, RecordStore
from tests.runs import edit, made, run

CONSTANT = {"name": "says_anything", "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": ".*"}}}


def test_a_lora_campaign_goes_on_from_its_own_adapter(finished_copy: Path) -> None:
    edit(finished_copy / "campaign.yaml", "training.weights", "lora")
    records = run(finished_copy)
    assert made(records)[0] == "round_1/checkpoints"
    first, second = (records[f"round_{n}/checkpoints"].path("checkpoint") for n in (1, 2))
    for folder in (first, second):
        assert (folder / "adapter_model.safetensors").is_file()
        assert not (folder / "model.safetensors").exists()
    assert records["round_2/rollouts"].payload["inputs"]["policy"] == records["round_1/checkpoints"].content_hash
    assert records["round_1/checkpoints"].content_hash != records["round_2/checkpoints"].content_hash
    report = json.loads(records["round_2/eval_reports"].path("report.json").read_text(encoding="utf-8"))
    assert [each["round"] for each in report["rounds"]] == [0, 1, 2]


def test_numbers_nobody_can_know_are_left_out_of_a_record(finished_copy: Path) -> None:
    eval_prompts = finished_copy / "prompts" / "eval.jsonl"
    eval_prompts.write_text(eval_prompts.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    report = run(finished_copy, rounds=1)["round_1/eval_reports"]
    assert report.rows["prompts"] == 1
    assert 0 <= report.metrics["eval_reward"] <= 1
    assert "eval_reward_lower95" not in report.metrics
    assert "eval_delta_upper95" not in report.metrics
    assert all(isinstance(number, float) for number in report.metrics.values())


def test_a_rubric_that_cannot_tell_replies_apart_stops_before_training(finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria", [CONSTANT])
    run(finished_copy, ["rubric", "round_1/judge_scores", "round_1/reward_batches"])
    with pytest.raises(
        GateError, match=r"0 of 4 groups have variance to learn from, .* reward.min_group_share requires 0.5"
    ):
        run(finished_copy, ["round_1/checkpoints"])


def test_what_a_stage_raises_travels_on_and_leaves_nothing_half_made(
    tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(job: object) -> None:
        raise ZeroDivisionError("one by nothing")

    monkeypatch.setattr(STAGES["prompts"], "run", broken)
    with pytest.raises(ZeroDivisionError):
        run(tiny_campaign, ["prompts"])
    folder = Home.find().store / "tiny" / "prompts"
    assert {path.name for path in folder.iterdir()} <= {".lock"}
    assert not list(Home.find().progress.glob("*.json"))


def test_one_engine_at_a_time_is_open_and_none_when_its_stage_is_done(
    tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[TransformersEngine] = []
    load_engine = load.load_engine

    def watched(folder: Path, runtime: EngineRuntime) -> Engine:
        assert not [engine for engine in opened if hasattr(engine, "model")]
        engine = load_engine(folder, runtime)
        assert isinstance(engine, TransformersEngine)
        opened.append(engine)
        return engine

    monkeypatch.setattr(load, "load_engine", watched)
    run(tiny_campaign, rounds=1)
    # rollouts; judge_scores; eval_reports: the base policy, the checkpoint, the judge
    assert len(opened) == 5
    assert not [engine for engine in opened if hasattr(engine, "model")]


def test_a_report_shows_the_criteria_in_the_rubrics_order_and_scores_do_not_depend_on_it(finished_copy: Path) -> None:
    path = finished_copy / "rubric.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))

    def order() -> list[str]:
        record = RecordStore(Home.find().store).current("tiny/round_2/eval_reports")
        assert record is not None
        report = json.loads(record.path("report.json").read_text(encoding="utf-8"))
        return list(report["rounds"][0]["criteria"])

    assert order() == ["polite", "relevant", "says_enough", "has_an_e"]
    content["criteria"].reverse()
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    records = run(finished_copy)
    assert set(made(records)) == {"rubric", "round_1/eval_reports", "round_2/eval_reports", "promotion"}
    assert order() == ["has_an_e", "says_enough", "relevant", "polite"]
