"""What an edit re-makes, and what it leaves alone."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from rft_pipeline.campaign import load_campaign
from rft_pipeline.errors import StoreError
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home, Record, RecordStore, judgements_table, rollouts_table
from tests.runs import edit, engines_counted, made, run

ROUND_1 = ["round_1/rollouts", "round_1/judge_scores", "round_1/reward_batches", "round_1/checkpoints"]


def stored(name: str) -> Record:
    record = RecordStore(Home.find().store).current(f"tiny/{name}")
    assert record is not None
    return record


def rows_in_tables() -> tuple[int, int]:
    tables = rollouts_table(Home.find().store), judgements_table(Home.find().store)
    rollouts, judgements = (table.rows().collect().height for table in tables)
    return rollouts, judgements


def test_every_stage_leaves_a_record_and_a_second_run_finds_them_all_without_loading_a_model(
    tiny_campaign: Path,
) -> None:
    names = [node.name for node in nodes(load_campaign(tiny_campaign))]
    with engines_counted() as loaded:
        first = run(tiny_campaign)
    assert made(first) == names
    # rollouts and judge of both rounds; base, one checkpoint and the judge in each report, base known in the second
    assert len(loaded) == 2 + 3 + 2 + 2
    with engines_counted() as loaded:
        second = run(tiny_campaign)
    assert made(second) == []
    assert loaded == []
    for name in names:
        assert second[name].fingerprint == first[name].fingerprint
        assert second[name].content_hash == first[name].content_hash == stored(name).content_hash
        assert second[name].rows == first[name].rows
        assert second[name].metrics == first[name].metrics
    assert first["round_1/judge_scores"].rows["judgements"] == 4 * 4 * 4


def test_a_fresh_home_makes_the_same_results(
    finished_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["prompts", "rubric", "policy", *ROUND_1]
    expected = {name: stored(name) for name in names}
    monkeypatch.setenv("RFT_HOME", str(tmp_path))
    for name, record in run(finished_home, names).items():
        assert not record.cached
        assert record.fingerprint == expected[name].fingerprint
        assert record.content_hash == expected[name].content_hash


def test_runtime_settings_comments_and_the_order_of_keys_change_nothing(finished_copy: Path) -> None:
    path = finished_copy / "campaign.yaml"
    for where in ("rollouts", "judge", "evaluation"):
        edit(path, f"{where}.runtime.batch_size", 3)
    edit(path, "training.runtime.micro_batch_size", 2)
    for name in ("campaign.yaml", "rubric.yaml"):
        content = yaml.safe_load((finished_copy / name).read_text(encoding="utf-8"))
        text = "# reviewed\n" + yaml.safe_dump(content, sort_keys=True)
        (finished_copy / name).write_text(text, encoding="utf-8")
    with engines_counted() as loaded:
        assert made(run(finished_copy)) == []
    assert loaded == []


def test_another_weight_makes_the_batch_the_checkpoint_and_the_report_anew_and_asks_no_judge(
    finished_copy: Path,
) -> None:
    before = rows_in_tables()
    edit(finished_copy / "rubric.yaml", "criteria.0.weight", 3)
    with engines_counted() as loaded:
        records = run(finished_copy, ["prompts", "rubric", "policy", *ROUND_1])
    assert made(records) == ["rubric", "round_1/reward_batches", "round_1/checkpoints"]
    assert loaded == []
    assert rows_in_tables() == before
    report = run(finished_copy, ["round_1/eval_reports"])["round_1/eval_reports"]
    assert not report.cached
    assert report.rows["made"] == 6  # the new checkpoint's replies; base's are known
    assert rows_in_tables()[0] == before[0] + 6


def test_another_campaign_finds_the_replies_of_base_and_of_equal_checkpoints_and_their_judgements(
    finished_copy: Path,
) -> None:
    other = shutil.copytree(finished_copy, finished_copy.with_name("other"))
    edit(other / "campaign.yaml", "name", "other")
    before = rows_in_tables()
    with engines_counted() as loaded:
        same = run(other, rounds=1)
    assert (same["round_1/rollouts"].rows["made"], same["round_1/eval_reports"].rows["made"]) == (0, 0)
    assert loaded == []
    assert rows_in_tables() == before
    edit(other / "campaign.yaml", "training.learning_rate", 5e-4)
    with engines_counted() as loaded:
        trained = run(other, rounds=1)
    assert trained["round_1/eval_reports"].rows["made"] == 6  # the new checkpoint's replies; base's are known
    assert trained["round_1/checkpoints"].path("checkpoint") in loaded
    assert len(loaded) == 2  # the checkpoint and the judge


def test_another_persona_makes_the_judgements_of_its_criterion_anew_and_no_other(finished_copy: Path) -> None:
    before = rows_in_tables()
    edit(finished_copy / "rubric.yaml", "criteria.0.judge.positive", "You are a very warm and kind agent.")
    with engines_counted() as loaded:
        records = run(finished_copy, ["rubric", *ROUND_1[:2]])
    assert made(records) == ["rubric", "round_1/judge_scores"]
    assert len(loaded) == 1
    rows = records["round_1/judge_scores"].rows
    assert {name: rows[f"made_{name}"] for name in ("polite", "relevant", "says_enough", "has_an_e")} == {
        "polite": 16,
        "relevant": 0,
        "says_enough": 0,
        "has_an_e": 0,
    }
    assert rows_in_tables() == (before[0], before[1] + 16)


def test_an_edit_taken_back_finds_the_old_records_and_puts_them_in_force(finished_copy: Path) -> None:
    rubric = finished_copy / "rubric.yaml"
    old = stored("round_1/reward_batches").fingerprint
    text = rubric.read_text(encoding="utf-8")
    edit(rubric, "criteria.0.weight", 3)
    run(finished_copy, ["rubric", "round_1/reward_batches"])
    assert stored("round_1/reward_batches").fingerprint != old
    rubric.write_text(text, encoding="utf-8")
    assert made(run(finished_copy)) == []
    assert stored("round_1/reward_batches").fingerprint == old


def test_equal_content_stops_a_change(finished_copy: Path) -> None:
    lost = stored("round_1/judge_scores")
    shutil.rmtree(lost.folder)
    with engines_counted() as loaded:
        records = run(finished_copy)
    assert made(records) == ["round_1/judge_scores"]
    assert loaded == []
    again = records["round_1/judge_scores"]
    assert again.content_hash == lost.content_hash
    assert again.rows["made"] == 0


def test_another_eval_prompt_leaves_the_rollouts_and_everything_that_trains(finished_copy: Path) -> None:
    path = finished_copy / "prompts" / "eval.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "eval-99", "prompt": "Is the answer good?"}) + "\n")
    records = run(finished_copy)
    assert made(records) == ["prompts", "round_1/eval_reports", "round_2/eval_reports", "promotion"]
    assert records["round_1/eval_reports"].rows["made"] == 2  # one prompt more, for base and one checkpoint


def test_a_file_that_is_gone_makes_its_stage_anew(finished_copy: Path) -> None:
    stored("round_1/reward_batches").path("reward_batches.parquet").unlink()
    assert made(run(finished_copy)) == ["round_1/reward_batches"]


def test_a_stage_whose_upstream_has_not_run_says_what_to_run(tiny_campaign: Path) -> None:
    run(tiny_campaign, ["prompts", "rubric"])
    with pytest.raises(StoreError, match="tiny/round_1/rollouts needs tiny/policy, which has not run; run it first"):
        run(tiny_campaign, ["round_1/rollouts"])
    with pytest.raises(StoreError, match="tiny/round_2/rollouts needs tiny/round_1/checkpoints, which has not run"):
        run(tiny_campaign, ["round_2/rollouts"])
