"""Labels by people, and the exports they belong to, are looked after and never freed."""

from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.labels.exports import FOLDER, Export, draw_export
from rft_pipeline.labels.files import write_export
from rft_pipeline.labels.table import labels_of
from rft_pipeline.store import Home, labels_table
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
        f"1 labels of export {export.id} are for rollouts that were not drawn",
        f"1 labels of export {export.id} are for criteria that the export does not have: brief",
        f"1 labels of export {export.id} have values outside 0 to 1",
        "1 labels of export gone which does not exist",
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
