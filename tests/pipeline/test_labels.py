"""People's labels in the pipeline: they take the place of what the judge said, and begin where an edit would."""

import json
from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.labels.exports import Export, draw_export
from rft_pipeline.labels.files import write_export
from rft_pipeline.labels.importing import import_labels
from rft_pipeline.labels.reading import read_filled
from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.trace_rows import RolloutTrace
from rft_pipeline.pipeline import plan as planning
from rft_pipeline.store import Home, Record, RecordStore
from tests.assets.test_automation import launched, look
from tests.labels.sheets import filled, save
from tests.runs import edit, made, run
from tests.upkeep.small import verified


@pytest.fixture
def labelled(finished_copy: Path, tmp_path: Path) -> Path:
    """All 32 rollouts of both rounds are labelled for politeness: the first drawn is not polite, all others are."""
    into_the_table(finished_copy, tmp_path)
    return finished_copy


def into_the_table(campaign: Path, where: Path, annotator: str = "Anna") -> Export:
    home = Home.find()
    export = draw_export(load_campaign(campaign), home, 32)
    path = write_export(export, home.store, where, "csv")
    filled(path, annotator)
    import_labels(load_campaign(campaign), home.store, read_filled(path), skip_wrong=False)
    return export


def run_last(campaign: Path) -> dict[str, Record]:
    """What `rft run` runs after an import: the sources and the last round."""
    rounds = ("rollouts", "judge_scores", "reward_batches", "checkpoints", "eval_reports")
    return run(campaign, ["prompts", "rubric", "policy", "labels", *(f"round_2/{stage}" for stage in rounds)])


def rows_of(record: Record) -> pl.DataFrame:
    return pl.read_parquet(record.path(f"{record.payload['stage']}.parquet"))


def test_a_label_takes_the_judgements_place_in_the_reward_and_says_so(labelled: Path) -> None:
    records = run_last(labelled)
    batch = rows_of(records["round_2/reward_batches"])
    assert batch["labelled"].to_list() == [["polite"]] * 16
    scores = batch["scores"].struct.unnest()
    assert set(scores["polite"]) <= {0.0, 1.0}
    weights = load_campaign(labelled).rubric.weights()
    weighted = (pl.col(name) * weight for name, weight in weights.items())
    expected = scores.select(pl.sum_horizontal(weighted)).to_series()
    ungated = ~batch["gated"]
    assert batch["reward"].filter(ungated).to_list() == pytest.approx(expected.filter(ungated).to_list())
    judged = rows_of(records["round_2/judge_scores"]).filter(criterion="polite")
    assert not set(judged["score"]) <= {0.0, 1.0}  # what the judge said is kept
    assert records["round_2/reward_batches"].rows["labelled"] == 16
    assert verified().findings == []


def test_labels_that_only_confirm_the_judge_still_count_for_methods_that_ask_who_labelled(
    finished_copy: Path, tmp_path: Path
) -> None:
    home = Home.find()
    before = run_last(finished_copy)["round_2/reward_batches"]
    export = draw_export(load_campaign(finished_copy), home, 32)
    path = write_export(export, home.store, tmp_path, "csv")
    judged = {
        row["rollout_id"]: row["score"] for found in judge_scores() for row in polite(found).iter_rows(named=True)
    }
    head, *rows = filled(path)
    place = {heading.split(" ")[0]: number for number, heading in enumerate(head)}
    for row in rows:
        row[place["polite"]] = f"{judged[row[0].removeprefix(chr(39))]:.25f}"
    save(path, [head, *rows])
    import_labels(load_campaign(finished_copy), home.store, read_filled(path), skip_wrong=False)
    after = run_last(finished_copy)["round_2/reward_batches"]
    assert after.content_hash == before.content_hash
    assert after.parts["choices"] != before.parts["choices"]


def polite(scores: Record) -> pl.DataFrame:
    return rows_of(scores).filter(criterion="polite")


def test_labels_of_earlier_rounds_keep_their_checkpoints_and_make_the_last_again(labelled: Path) -> None:
    planned = planning.plan(load_campaign(labelled), Home.find())
    assert planned.first_round == 2
    runs = {step.key.removeprefix("tiny/"): step.reasons for step in planned.steps if step.action == "run"}
    remade = ("round_2/reward_batches", "round_2/checkpoints", "round_2/eval_reports", "promotion")
    assert list(runs) == ["labels", *remade]
    assert runs["round_2/reward_batches"] == ["an earlier stage runs: labels"]
    edit(labelled / "campaign.yaml", "on_rubric_change", "redo")
    assert planning.plan(load_campaign(labelled), Home.find()).first_round == 1


def test_a_campaign_without_labels_makes_nothing_again_for_want_of_them(finished_copy: Path) -> None:
    home = Home.find()
    before = RecordStore(home.store).current("tiny/round_2/reward_batches")
    assert before is not None
    assert "labels" not in before.payload["inputs"]
    draw_export(load_campaign(finished_copy), home, 8)
    assert made(run(finished_copy)) == []


def test_a_second_annotator_makes_the_batch_of_the_last_round_again(labelled: Path, tmp_path: Path) -> None:
    before = run_last(labelled)
    assert made(run_last(labelled)) == []
    assert into_the_table(labelled, tmp_path, "Ben").number == 1  # another draw: another reply is the impolite one
    after = run_last(labelled)
    assert made(after)[:2] == ["labels", "round_2/reward_batches"]
    assert before["labels"].rows == {"labels": 32, "rollouts": 32, "annotators": 1}
    assert after["labels"].rows == {"labels": 64, "rollouts": 32, "annotators": 2}


def test_the_report_shows_the_judge_people_and_both(labelled: Path) -> None:
    record = run_last(labelled)["round_2/eval_reports"]
    people = json.loads(record.path("report.json").read_text(encoding="utf-8"))["people"]
    assert set(people) == {"polite"}
    assert people["polite"]["labelled"] == 32
    assert people["polite"]["human"]["mean"] == pytest.approx(31 / 32)
    judged = pl.concat([rows_of(found) for found in judge_scores()]).filter(criterion="polite")
    assert people["polite"]["judge"]["mean"] == pytest.approx(judged["score"].mean())
    assert "Judge and people" in record.path("report.html").read_text(encoding="utf-8")


def judge_scores() -> list[Record]:
    store = RecordStore(Home.find().store)
    found = [store.current(f"tiny/round_{round_}/judge_scores") for round_ in (1, 2)]
    return [record for record in found if record is not None]


def test_a_trace_says_which_scores_are_peoples(labelled: Path) -> None:
    batch = run_last(labelled)["round_2/reward_batches"]
    found = trace(Home.find(), rows_of(batch)["rollout_id"][0])
    assert isinstance(found, RolloutTrace)
    by_people = {each.address: each.labelled for each in found.rollout.batches}
    assert by_people[batch.address] == ("polite",)


def test_the_sensor_notices_an_import_once(finished_copy: Path, tmp_path: Path) -> None:
    before = look(None)
    into_the_table(finished_copy, tmp_path)
    tick = look(before.cursor)
    assert [reason for reason, _ in launched(tick)] == ["labels changed"]
    assert launched(look(tick.cursor)) == []


def test_labels_of_what_is_no_longer_asked_count_nowhere(labelled: Path) -> None:
    before = run_last(labelled)
    edit(labelled / "rubric.yaml", "criteria.0.description", "Does it greet the customer by name?")
    after = run_last(labelled)
    assert made(after)[:2] == ["rubric", "labels"]
    assert after["labels"].rows == {"labels": 0, "rollouts": 0, "annotators": 0, "left_out": 32}
    assert json.loads(after["labels"].path("left_out.json").read_text(encoding="utf-8")) == [
        {
            "criterion": "polite",
            "labels": 32,
            "asked": "(yes, no or 0 to 1)",
            "asks": "(yes, no or 0 to 1) Does it greet the customer by name?",
        }
    ]
    assert rows_of(after["round_2/reward_batches"])["labelled"].to_list() == [[]] * 16
    report = after["round_2/eval_reports"].path("report.json").read_text(encoding="utf-8")
    assert "people" not in json.loads(report)
    assert made(run_last(labelled)) == []
    edit(labelled / "rubric.yaml", "criteria.0.description", "")
    assert run_last(labelled)["round_2/reward_batches"].content_hash == before["round_2/reward_batches"].content_hash


def test_another_template_of_the_judge_leaves_labels_as_they_are(labelled: Path) -> None:
    before = run_last(labelled)
    edit(labelled / "rubric.yaml", "criteria.0.judge.positive", "You are polite.")
    after = run_last(labelled)
    assert after["labels"].address == before["labels"].address
    assert rows_of(after["round_2/reward_batches"])["labelled"].to_list() == [["polite"]] * 16
