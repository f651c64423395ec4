"""A label answers what its export asked: on its scale, and as long as the rubric asks the same."""

from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.check import check_campaign
from rft_pipeline.errors import DataError
from rft_pipeline.labels.exports import draw_export, exports_of
from rft_pipeline.labels.files import write_export
from rft_pipeline.labels.table import why_left_out
from rft_pipeline.store import Home, labels_table
from tests.labels.sheets import filled, imported, save, stored
from tests.runs import edit


def test_graded_criteria_are_asked_in_grades(finished_copy: Path, tmp_path: Path) -> None:
    grades = ["rude", "plain", "warm"]
    judge = {"protocol": "graded", "question": "How warm is it?", "grades": grades}
    edit(finished_copy / "rubric.yaml", "criteria.0.judge", judge)
    export = draw_export(load_campaign(finished_copy), Home.find(), 8)
    assert export.criteria["polite"].hint == "(1 to 3) How warm is it? 1 = rude; 2 = plain; 3 = warm"
    path = write_export(export, Home.find().store, tmp_path, "csv")
    filled(path, polite="2")
    imported(path)
    assert set(stored()["value"]) == {0.5}
    assert exports_of("tiny", Home.find().store) == [export]


def graded(campaign: Path, *grades: str) -> None:
    judge = {"protocol": "graded", "question": "How warm is it?", "grades": list(grades)}
    edit(campaign / "rubric.yaml", "criteria.0.judge", judge)


def test_a_file_is_read_on_the_scale_of_its_own_export(finished_copy: Path, tmp_path: Path) -> None:
    home = Home.find()
    graded(finished_copy, "rude", "plain", "warm")
    path = write_export(draw_export(load_campaign(finished_copy), home, 8), home.store, tmp_path, "csv")
    graded(finished_copy, "rude", "cold", "plain", "kind", "warm")
    newer = write_export(draw_export(load_campaign(finished_copy), home, 8), home.store, tmp_path, "csv")
    filled(path, polite="4")
    with pytest.raises(DataError, match='polite: "4" is not a grade: write an integer from 1 to 3'):
        imported(path)
    filled(path, polite="3")
    filled(newer, annotator="Ben", polite="3")
    imported(path)
    imported(newer)
    found = labels_table(home.store).rows().collect()
    assert set(found.filter(annotator="Anna")["value"]) == {1.0}
    assert set(found.filter(annotator="Ben")["value"]) == {0.5}


def test_a_criterion_that_only_another_export_asked_about_is_refused(finished_copy: Path, tmp_path: Path) -> None:
    home = Home.find()
    path = write_export(draw_export(load_campaign(finished_copy), home, 8), home.store, tmp_path, "csv")
    edit(finished_copy / "rubric.yaml", "criteria.3.name", "brief")
    draw_export(load_campaign(finished_copy), home, 8)
    rows = filled(path)
    rows[0][6] = "brief"
    rows[1][6] = "yes"
    save(path, rows)
    asked = "polite, relevant, says_enough, has_an_e"
    with pytest.raises(DataError, match=f'row 2: the export has no criterion "brief"; allowed: {asked}'):
        imported(path)


def test_what_is_asked_now_is_labelled_again_and_the_old_file_does_not_undo_it(
    finished_copy: Path, tmp_path: Path
) -> None:
    home = Home.find()
    old = write_export(draw_export(load_campaign(finished_copy), home, 32), home.store, tmp_path, "csv")
    filled(old)
    imported(old)
    edit(finished_copy / "rubric.yaml", "criteria.0.description", "Does it greet the customer?")
    assert stored().is_empty()
    campaign = load_campaign(finished_copy)
    (why,) = why_left_out(campaign, home.store)
    assert why.startswith(
        "32 labels of polite are left out: people were asked “(yes, no or 0 to 1)”, and the rubric now"
    )
    assert "now asks “(yes, no or 0 to 1) Does it greet the customer?”. Have replies labelled again (rft labels" in why
    warnings = check_campaign(finished_copy, home.models, home.store).warnings
    assert f"{finished_copy / 'rubric.yaml'}: {why}" in warnings
    new = write_export(draw_export(campaign, home, 32), home.store, tmp_path, "csv")
    filled(new, polite="yes")
    assert imported(new).changed == 32
    assert stored()["value"].to_list() == [1.0] * 32
    assert why_left_out(campaign, home.store) == []
    again = imported(old)
    assert (again.changed, again.unchanged, again.outdated) == (0, 0, 32)
    assert stored()["value"].to_list() == [1.0] * 32
