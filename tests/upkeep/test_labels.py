"""Labels by people, and the exports they belong to, are looked after and never freed."""

from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.labels.exports import FOLDER, Export, draw_export
from rft_pipeline.labels.files import write_export
from rft_pipeline.labels.pairs import FOLDER as PAIRS
from rft_pipeline.labels.pairs import PairExport, pair_rows
from rft_pipeline.labels.preferences import votes_of
from rft_pipeline.labels.table import labels_of
from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.preferred import PreferenceFacts
from rft_pipeline.lineage.trace_rows import RolloutTrace
from rft_pipeline.store import Home, labels_table, preferences_table
from tests.labels.pairs import answered, exported, taken, written
from tests.labels.sheets import filled, imported
from tests.upkeep.small import collected, said, tree


@pytest.fixture
def export(finished_copy: Path, tmp_path: Path) -> Export:
    """Eight replies, labelled by Anna."""
    home = Home.find()
    drawn = draw_export(load_campaign(finished_copy), home, 8)
    path = write_export(drawn, home.store, tmp_path, "csv")
    filled(path)
    imported(path)
    return drawn


def test_labels_that_belong_to_an_export_are_sound(export: Export) -> None:
    assert said() == []


def test_gc_frees_neither_labels_nor_exports(export: Export) -> None:
    store, tiny = Home.find().store, load_campaign(Home.find().campaign_folder("tiny"))
    before = tree(store / "tiny" / FOLDER), labels_of(tiny, store)
    collected(yes=True)
    assert tree(store / "tiny" / FOLDER) == before[0]
    assert labels_of(tiny, store).equals(before[1])


def test_labels_of_no_export_no_rollout_and_no_criterion_are_found(export: Export) -> None:
    store = Home.find().store
    table = labels_table(store)
    rows = table.rows().sort("label_id").collect()
    strays = [
        {**rows.row(0, named=True), "label_id": "a", "batch": "gone"},
        {**rows.row(1, named=True), "label_id": "b", "rollout_id": "unknown"},
        {**rows.row(2, named=True), "label_id": "c", "criterion": "brief", "value": 2.0},
    ]
    table.append(rows.clear().extend(type(rows)(strays, schema=rows.schema)))
    assert [what for level, place, what in said() if (level, place) == ("error", "tables/labels")] == [
        f"1 label of export {export.id} for rollouts that were not drawn",
        f"1 label of export {export.id} for criteria that the export does not have: brief",
        f"1 label of export {export.id} with values outside 0 to 1",
        "1 label of export gone which does not exist",
    ]


def test_an_export_that_cannot_be_read_is_found_and_its_labels_are_not_blamed(export: Export) -> None:
    folder = Home.find().store / "tiny" / FOLDER
    (folder / f"{export.id}.parquet").write_bytes(b"x")
    ((level, place, what),) = said()
    assert (level, place) == ("error", f"tiny/{FOLDER}/{export.id}.parquet")
    assert what.startswith("cannot be read: ")
    (folder / f"{export.id}.json").write_text("{half", encoding="utf-8")
    ((level, place, what),) = said()
    assert (level, place) == ("error", f"tiny/{FOLDER}/{export.id}.json")


@pytest.fixture
def pairs(finished_copy: Path, tmp_path: Path) -> PairExport:
    """Six blind pairs, answered by Anna."""
    drawn = exported()
    path = written(drawn, tmp_path)
    answered(path, drawn, "tuned")
    taken(path)
    return drawn


def test_answers_to_exported_pairs_are_sound_and_gc_frees_none(pairs: PairExport) -> None:
    store = Home.find().store
    before = tree(store / "tiny" / PAIRS), votes_of("tiny", store)
    assert said() == []
    collected(yes=True)
    assert tree(store / "tiny" / PAIRS) == before[0]
    assert votes_of("tiny", store).equals(before[1])


def test_answers_to_no_export_and_no_pair_are_found(pairs: PairExport) -> None:
    table = preferences_table(Home.find().store)
    rows = table.rows().sort("preference_id").collect()
    strays = [
        {**rows.row(0, named=True), "preference_id": "a", "batch": "gone"},
        {**rows.row(1, named=True), "preference_id": "b", "left": "unknown", "preferred": "both"},
    ]
    table.append(rows.clear().extend(type(rows)(strays, schema=rows.schema)))
    assert [what for level, place, what in said() if (level, place) == ("error", "tables/preferences")] == [
        f"1 answer of export {pairs.id} about pairs that it does not have",
        f"1 answer of export {pairs.id} other than left, right or tie",
        "1 answer of export gone which does not exist",
    ]


def test_pairs_that_cannot_be_read_are_found_and_their_answers_are_not_blamed(pairs: PairExport) -> None:
    folder = Home.find().store / "tiny" / PAIRS
    for name, content in ((f"{pairs.id}.parquet", "x"), (f"{pairs.id}.json", "{half")):
        (folder / name).write_text(content, encoding="utf-8")
        ((level, place, what),) = said()
        assert (level, place) == ("error", f"tiny/{PAIRS}/{name}")
        assert what.startswith("cannot be read: ")


def test_the_trace_of_a_reply_says_what_people_preferred(pairs: PairExport) -> None:
    row = pair_rows(pairs, Home.find().store).row(0, named=True)
    other = row["right" if row["tuned"] == "left" else "left"]
    found = trace(Home.find(), row[row["tuned"]])
    assert isinstance(found, RolloutTrace)
    assert found.rollout.preferences == (PreferenceFacts(other, won=1, lost=0, ties=0),)
