"""After an edit of what steers the training, a campaign continues from the weights that it has."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.campaign.cycles import contexts, load_current
from rft_pipeline.labels.policies import policies
from rft_pipeline.pipeline.continuing import load_and_begin, standing
from rft_pipeline.pipeline.edit_plan import plan_edit
from rft_pipeline.store import Home, RecordStore, champions, judgements_table, rollouts_table
from tests.pipeline.continued import run_again, run_all, run_reports
from tests.runs import edit

PER_GENERATION = 2 * 4


def heights() -> dict[str, int]:
    store = Home.find().store
    tables = {"rollouts": rollouts_table(store), "judgements": judgements_table(store)}
    return {name: int(table.rows().select(pl.len()).collect().item()) for name, table in tables.items()}


def edit_text(folder: Path) -> None:
    edit(folder / "rubric.yaml", "criteria.0.judge.positive", "You are a formal and exact support agent.")


def edit_weight(folder: Path) -> None:
    edit(folder / "rubric.yaml", "criteria.0.weight", 3.0)


def edit_squash(folder: Path) -> None:
    edit(folder / "rubric.yaml", "criteria.0.judge.squash", {"offset": 0.01, "scale": 0.1})


def test_nothing_edited_asks_for_nothing(trained: Path) -> None:
    assert plan_edit(standing(load_campaign(trained), Home.find()), Home.find()) is None
    assert load_and_begin(Home.find(), "tiny") == load_campaign(trained)
    assert contexts(load_campaign(trained), Home.find()) == []


@pytest.mark.parametrize("change", [edit_text, edit_weight])
def test_an_edit_of_the_rubric_continues_from_the_champion(trained: Path, change: object) -> None:
    assert callable(change)
    change(trained)
    home = Home.find()
    champion = champions.champion(home.root, "tiny")
    assert champion is not None
    state = standing(load_campaign(trained), home)
    assert state.begins is not None
    assert state.begins.edit is not None
    assert state.begins.edit.continuation.start.address == champion.record
    assert state.begins.edit.continuation.generations == 1
    assert state.next.rounds == 1
    assert not (home.root / "cycles").exists()
    run_reports(trained)
    current = load_and_begin(home, "tiny")
    assert current == load_current(home, "tiny")
    made = run_all(current)
    assert made["policy"].content_hash == champion.content_hash
    rows = pl.read_parquet(made["round_1/rollouts"].path("rollouts.parquet"))
    assert made["round_1/rollouts"].rows["made"] == PER_GENERATION
    assert rows["generation"].n_unique() == 2
    report = json.loads(made["round_1/eval_reports"].path("report.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in report["rounds"]] == ["start", "round 1"]
    assert report["start"] == champion.record
    decided = json.loads(made["promotion"].path("promotion.json").read_text(encoding="utf-8"))
    assert decided["champion"] == "the champion (start)"
    assert list(policies(current, home)) == ["start", "round-1", "champion"]
    assert standing(load_campaign(trained), home).begins is None
    assert all(record.cached for record in run_all(load_current(home, "tiny")).values())


def test_the_report_of_what_stands_is_judged_on_the_edited_criterion_alone(trained: Path) -> None:
    edit_text(trained)
    before = heights()
    run_reports(trained)
    after = heights()
    assert after["rollouts"] == before["rollouts"]
    report = RecordStore(Home.find().store).current("tiny/round_1/eval_reports")
    assert report is not None
    replies = pl.read_parquet(report.path("eval_reports.parquet"))
    assert 0 < after["judgements"] - before["judgements"] <= replies.height
    assert standing(load_campaign(trained), Home.find()).reports_are_made


@pytest.mark.parametrize("change", [edit_weight, edit_squash])
def test_a_weight_or_a_squash_costs_no_judgement_of_what_is_stored(
    trained: Path, change: Callable[[Path], None]
) -> None:
    change(trained)
    before = heights()
    run_reports(trained)
    assert heights() == before


def test_stored_generations_are_the_first_steps_with_the_ratio_to_the_policy_that_sampled_them(trained: Path) -> None:
    edit_weight(trained)
    home = Home.find()
    records = RecordStore(home.store)
    sampled = records.current("tiny/round_1/rollouts")
    assert sampled is not None
    last = pl.read_parquet(sampled.path("rollouts.parquet")).filter(generation=4)
    run_reports(trained)
    made = run_all(load_and_begin(home, "tiny"))
    rows = pl.read_parquet(made["round_1/rollouts"].path("rollouts.parquet"))
    taken = rows.filter(generation=1)
    assert taken["rollout_id"].to_list() == last["rollout_id"].to_list()
    assert taken["policy"].to_list() == last["policy"].to_list()
    numbers = [json.loads(line) for line in made["round_1/checkpoints"].path("generations.jsonl").open()]
    assert [each["generation"] for each in numbers] == [1, 2]
    assert 0.8 <= numbers[0].get("effective_share", 1.0) <= 1.0


def test_stored_generations_that_are_too_far_from_the_policy_are_left_out(trained: Path) -> None:
    edit(trained / "campaign.yaml", "training.min_effective_share", 1.0)
    home = Home.find()
    again = run_all(load_campaign(trained))  # the setting is part of a round's identity
    assert not again["round_1/checkpoints"].cached
    edit_weight(trained)
    run_reports(trained)
    made = run_all(load_and_begin(home, "tiny"))
    rows = pl.read_parquet(made["round_1/rollouts"].path("rollouts.parquet"))
    assert rows["generation"].unique().to_list() == [1]
    assert made["round_1/rollouts"].rows["made"] == PER_GENERATION


def test_an_edit_that_is_taken_back_finds_everything_again(trained: Path) -> None:
    home = Home.find()
    before = (trained / "rubric.yaml").read_text(encoding="utf-8")
    edit_text(trained)
    run_reports(trained)
    run_all(load_and_begin(home, "tiny"))
    (trained / "rubric.yaml").write_text(before, encoding="utf-8")
    state = standing(load_campaign(trained), home)
    assert state.begins is None
    assert len(state.taken_back) == 1
    current = load_and_begin(home, "tiny")
    assert current == load_campaign(trained)
    made = run_all(current)
    assert all(record.cached for name, record in made.items() if name != "promotion")


def test_a_second_edit_begins_a_second_cycle_from_the_champion(trained: Path) -> None:
    home = Home.find()
    for weight in (3.0, 5.0):
        edit(trained / "rubric.yaml", "criteria.0.weight", weight)
        run_reports(trained)
        run_all(load_and_begin(home, "tiny"))
    cycles = contexts(load_campaign(trained), home)
    assert [cycle.number for cycle in cycles] == [1, 2]
    assert all(cycle.finished for cycle in cycles[:1])


def test_a_setting_of_the_training_begins_no_cycle(trained: Path) -> None:
    edit(trained / "campaign.yaml", "training.learning_rate", 5e-4)
    state = standing(load_campaign(trained), Home.find())
    assert state.begins is None
    assert state.campaign == load_campaign(trained)


@pytest.mark.parametrize("choice", ["redo", "off"])
def test_other_choices_begin_no_cycle(trained: Path, choice: str) -> None:
    edit(trained / "campaign.yaml", "on_rubric_change", choice)
    edit_text(trained)
    assert standing(load_campaign(trained), Home.find()).begins is None


def test_the_plan_says_in_one_line_what_is_edited_judged_and_trained(trained: Path) -> None:
    edit_text(trained)
    planned = plan_edit(standing(load_campaign(trained), Home.find()), Home.find())
    assert planned is not None
    judged = planned.summary.removeprefix('edited: criterion "polite": text changed. ').partition("; about")[0]
    assert re.sub(r"\d+ (judgements?|of)", r"N \1", judged) == (
        "N judgements for the reports and N of stored rollouts; then 1 generation of 8 rollouts from the champion "
        "(tiny/round_1/checkpoints)"
    )
    reports = {step.key: step.action for step in planned.reports.steps}
    assert reports["tiny/round_1/eval_reports"] == "run"
    assert reports["tiny/round_1/checkpoints"] == "skip"
    cycle = {step.key: step for step in planned.cycle.steps}
    assert cycle["tiny/round_1/rollouts"].rows.make == PER_GENERATION


def test_an_audit_that_comes_to_the_same_verdict_trains_nothing(trained: Path) -> None:
    write_audit(trained)
    run_again(trained)
    edit(trained / "campaign.yaml", "audit", {"probed_anchors": 0, "resamples": 300})
    planned = plan_edit(standing(load_campaign(trained), Home.find()), Home.find())
    assert planned is not None
    assert planned.summary.startswith(
        "edited: audit.resamples: 200 → 300. Nothing stored is judged anew; then, if the audit's verdict changes, "
        "1 generation of 8 rollouts from "
    )
    run_again(trained)
    assert [cycle.number for cycle in contexts(load_campaign(trained), Home.find())] == [1]
    assert standing(load_campaign(trained), Home.find()).is_begun


def write_audit(folder: Path) -> None:
    """One labelled anchor, and an audit."""
    anchor = {"id": "a1", "prompt_id": "p0", "prompt": "Where is parcel 0?", "completion": "Gladly."}
    line = json.dumps({**anchor, "labels": {"polite": 1}})
    (folder / "anchors.jsonl").write_text(f"{line}\n", encoding="utf-8")
    edit(folder / "campaign.yaml", "anchors", "anchors.jsonl")
    edit(folder / "campaign.yaml", "audit", {"probed_anchors": 0, "resamples": 200})


def test_the_plan_tells_the_judgements_of_an_audit_from_those_of_the_reports(trained: Path) -> None:
    write_audit(trained)
    planned = plan_edit(standing(load_campaign(trained), Home.find()), Home.find())
    assert planned is not None
    parts = [{step.key: step for step in part.steps}["tiny/judge_audit"] for part in (planned.reports, planned.cycle)]
    assert [step.action for step in parts] == ["run", "skip"], "the cycle finds what the reports made"
    assert sum(sum(step.work.values()) for step in parts) == parts[0].rows.make
    assert parts[1].reasons == ["made with the reports"]
    assert planned.summary.startswith("edited: judge_audit is new. 1 judgement for the audit; then 1 generation of ")


def test_a_continued_cycle_equals_the_same_continuation_from_a_copied_store(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    edit_text(trained)
    copied = tmp_path / "copied"
    shutil.copytree(trained.parents[1], copied, ignore=shutil.ignore_patterns("copied", "model"))
    run_reports(trained)
    made = run_all(load_and_begin(Home.find(), "tiny"))
    monkeypatch.setenv("RFT_HOME", str(copied / "home"))
    monkeypatch.setenv("RFT_DATA", str(copied / "data"))
    again = run_all(load_and_begin(Home.find(), "tiny"))
    for name in ("round_1/rollouts", "round_1/checkpoints"):
        assert again[name].fingerprint == made[name].fingerprint
        assert again[name].content_hash == made[name].content_hash
