"""People label held-out replies of the finished tiny campaign, of which the judges promoted round 1."""

import csv
from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.errors import StoreError
from rft_pipeline.labels.estimates import estimates
from rft_pipeline.labels.exports import Export, drawn_rows
from rft_pipeline.labels.files import write_export
from rft_pipeline.labels.held_out import draw_held_out, prompts_labelled
from rft_pipeline.labels.importing import import_labels
from rft_pipeline.labels.reading import read_filled
from rft_pipeline.labels.table import labels_of
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.stages.promotion import decision_of
from rft_pipeline.store import Home, Record, RecordStore, champions
from tests.assets.test_automation import launched, look
from tests.labels.sheets import save, table
from tests.runs import edit, run
from tests.upkeep.small import verified


@pytest.fixture
def campaign(finished_copy: Path) -> Path:
    """The finished campaign, which takes labels of 6 prompts for enough."""
    edit(finished_copy / "campaign.yaml", "promotion.min_labelled_prompts", 6)
    return finished_copy


def tiny() -> Campaign:
    return load_campaign(Home.find().campaign_folder("tiny"))


def drawn(folder: Path, n: int) -> Export:
    return draw_held_out(load_campaign(folder), Home.find(), n)


def labelled(export: Export, where: Path, base: tuple[float, float], rounds: float, first: float | None = None) -> Path:
    """People's file: replies of base are labelled by turns with two values, those of the rounds with a third, or where
    `first` is given those of round 1 with that."""
    path = write_export(export, Home.find().store, where, "csv")
    rows = table(path)
    place = {heading.split(" ")[0]: number for number, heading in enumerate(rows[0])}
    of_base, of_first = (set(replies().filter(round=round_)["rollout_id"]) for round_ in (0, 1))
    seen = 0
    for row in rows[1:]:
        value = rounds
        if row[place["rollout_id"]].lstrip("'") in of_base:
            value, seen = base[seen % 2], seen + 1
        elif first is not None and row[place["rollout_id"]].lstrip("'") in of_first:
            value = first
        row[place["polite"]] = row[place["relevant"]] = str(value)
        row[place["annotator"]] = "Anna"
    save(path, rows)
    import_labels(tiny(), Home.find().store, read_filled(path), skip_wrong=False)
    return path


def record(name: str) -> Record:
    found = RecordStore(Home.find().store).current(f"tiny/{name}")
    assert found is not None
    return found


def replies() -> pl.DataFrame:
    return pl.read_parquet(record("round_2/eval_reports").path("eval_reports.parquet"))


def to_run(folder: Path) -> list[str]:
    return [step.key for step in plan(load_campaign(folder), Home.find()).steps if step.action == "run"]


def test_a_draw_asks_about_the_same_prompts_of_every_policy(campaign: Path) -> None:
    export = drawn(campaign, 10)
    assert (export.drawn, export.prompts, export.population, export.held_out) == (9, 3, 18, True)
    asked = drawn_rows(export, Home.find().store)
    assert asked.group_by("prompt_id").len()["len"].to_list() == [3, 3, 3]
    assert asked["inclusion"].unique().to_list() == [0.5]
    rounds = asked.join(replies(), on="rollout_id")["round"].value_counts()
    assert dict(rounds.iter_rows()) == {0: 3, 1: 3, 2: 3}
    assert drawn(campaign, 10) == export


def test_the_next_draw_continues_where_labels_end(campaign: Path, tmp_path: Path) -> None:
    first = drawn(campaign, 9)
    labelled(first, tmp_path, (1, 0.9), 0)
    assert prompts_labelled(load_campaign(campaign), Home.find()) == 3
    second = drawn(campaign, 9)
    asked = [set(drawn_rows(export, Home.find().store)["prompt_id"]) for export in (first, second)]
    assert len(asked[0] | asked[1]) == 6
    labelled(second, tmp_path, (1, 0.9), 0)
    with pytest.raises(StoreError, match="imported exports already have all 6 held-out prompts"):
        drawn(campaign, 9)


def test_without_labels_the_judges_promote_a_round_that_people_find_no_better(campaign: Path, tmp_path: Path) -> None:
    before = decision_of(record("promotion"))
    assert before["promoted"] == 1
    labelled(drawn(campaign, 18), tmp_path, (1, 0.9), 0)
    after = run(campaign, ["promotion"])["promotion"]
    decided = decision_of(after)
    assert decided["promoted"] is None
    reward = decided["rounds"][0]["bounds"][0]
    assert "corrected by people's labels on 6 prompts" in reward["said"]
    assert reward["found"] < 0 < before["rounds"][0]["bounds"][0]["found"]
    assert "must be above 0 and is" in decided["said"]


def test_people_who_find_a_round_better_promote_it(campaign: Path, tmp_path: Path) -> None:
    labelled(drawn(campaign, 18), tmp_path, (0.4, 0.5), 1, first=0)
    decided = decision_of(run(campaign, ["promotion"])["promotion"])
    assert decided["rounds"][1]["bounds"][0]["found"] > 0
    assert decided["rounds"][1]["passed"]
    assert not decided["rounds"][0]["passed"]
    assert decided["promoted"] == 2
    assert [each.round for each in champions.history(Home.find().root, "tiny")] == [1, 2]


def test_labels_of_held_out_replies_are_read_only_by_the_promotion(campaign: Path, tmp_path: Path) -> None:
    run(campaign, ["promotion"])
    assert to_run(campaign) == []
    before = look(None)
    labelled(drawn(campaign, 18), tmp_path, (1, 0.9), 0)
    assert to_run(campaign) == ["tiny/promotion"]
    assert [reason for reason, _ in launched(look(before.cursor))] == ["labels of held-out replies changed"]
    assert labels_of(tiny(), Home.find().store).is_empty()
    assert labels_of(tiny(), Home.find().store, held_out=True).height == 36
    assert estimates(load_campaign(campaign), Home.find()) == {}
    assert verified().findings == []


def test_replies_of_a_champion_from_elsewhere_are_drawn_in_place_of_those_of_base(campaign: Path) -> None:
    edit(campaign / "campaign.yaml", "seed", 11)
    known = champions.history(Home.find().root, "tiny")[-1]
    run(campaign)
    export = drawn(campaign, 18)
    assert (export.drawn, export.prompts) == (18, 6)
    asked = drawn_rows(export, Home.find().store)
    theirs = pl.read_parquet(record("promotion").path("promotion.parquet"))
    assert set(theirs["policy"]) == {known.content_hash}
    assert asked.join(theirs, on="rollout_id", how="semi").height == 6


def test_a_campaign_without_a_decision_has_nothing_to_label(tiny_campaign: Path) -> None:
    with pytest.raises(StoreError, match="tiny/promotion: there is no promotion on held-out replies yet"):
        drawn(tiny_campaign, 9)


def test_the_file_for_people_hides_whose_reply_it_is(campaign: Path, tmp_path: Path) -> None:
    path = write_export(drawn(campaign, 18), Home.find().store, tmp_path, "csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        headings = next(csv.reader(file))
    assert not {"round", "policy", "score", "reward"} & {heading.split(" ")[0] for heading in headings}


def test_labels_of_an_edited_criterion_decide_no_promotion_and_are_asked_for_again(
    campaign: Path, tmp_path: Path
) -> None:
    before = decision_of(record("promotion"))
    labelled(drawn(campaign, 18), tmp_path, (1, 0.9), 0)
    edit(campaign / "rubric.yaml", "criteria.1.description", "Does it name the parcel?")
    after = decision_of(run(campaign, ["promotion"])["promotion"])
    assert after["rounds"][0]["bounds"][0]["mean"] == before["rounds"][0]["bounds"][0]["mean"]
    assert "people" not in after["rounds"][0]["bounds"][0]["said"]
    again = drawn(campaign, 18)
    assert (again.drawn, again.prompts) == (18, 6)
    labelled(again, tmp_path, (1, 0.9), 0)
    decided = decision_of(run(campaign, ["promotion"])["promotion"])
    assert "corrected by people's labels on 6 prompts" in decided["rounds"][0]["bounds"][0]["said"]
