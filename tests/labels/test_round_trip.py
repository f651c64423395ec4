"""Rollouts go out to people, and labels come back: nasty cells, other separators, wrong rows, twice the same file."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.errors import ConfigError, DataError, StoreError
from rft_pipeline.labels import population
from rft_pipeline.labels.estimates import estimates
from rft_pipeline.labels.exports import Export, draw_export, drawn_rows, exports_of, inclusions, rows_of
from rft_pipeline.labels.files import write_export
from rft_pipeline.labels.importing import split_of
from rft_pipeline.labels.reading import read_filled
from rft_pipeline.store import Home, RecordStore, labels_table
from tests.labels.sheets import filled, imported, save, stored, table
from tests.runs import edit

NASTY = ('=HYPERLINK("http://x")', "-2+3", 'two\nlines, "quoted"; and 😀', "\tTab", "'=x", "\ufeffbom", "@me", "a\x07b")


@pytest.fixture
def export(finished_copy: Path) -> Export:
    return draw_export(load_campaign(finished_copy), Home.find(), 8)


def test_what_was_drawn_is_kept_with_all_probabilities_and_what_judges_see(export: Export) -> None:
    store = Home.find().store
    assert (export.population, export.drawn) == (32, 8)
    rows = rows_of(export, store)
    assert rows.height == 32
    assert rows["inclusion"].sum() == pytest.approx(8)
    assert rows["inclusion"].min() >= 8 * 0.5 / 32
    drawn = drawn_rows(export, store)
    assert drawn["place"].to_list() == list(range(8))
    assert drawn.null_count().sum_horizontal().item() == 0
    assert exports_of("tiny", store) == [export]


def test_the_same_draw_comes_again_until_labels_are_back(export: Export, finished_copy: Path, tmp_path: Path) -> None:
    home, campaign = Home.find(), load_campaign(finished_copy)
    assert draw_export(campaign, home, 8) == export
    assert draw_export(campaign, home, 9).id != export.id
    path = write_export(export, home.store, tmp_path / "out", "csv")
    filled(path)
    imported(path)
    following = draw_export(campaign, home, 8)
    assert following.number == 1
    assert draw_export(campaign, home, 8) == following
    first, second = (
        dict(rows_of(each, home.store).select("rollout_id", "inclusion").rows()) for each in (export, following)
    )
    both = dict(inclusions([export, following], home.store).drop("prompt_id").rows())
    assert both == pytest.approx({key: 1 - (1 - first[key]) * (1 - second[key]) for key in first})


def test_a_file_with_semicolons_comes_back_too(export: Export, tmp_path: Path) -> None:
    path = write_export(export, Home.find().store, tmp_path, "csv", ";")
    assert path.read_text(encoding="utf-8-sig").startswith('"rollout_id";"prompt";"reply";"polite ')
    rows = read_filled(path)
    assert (rows.columns[:3], len(rows.rows)) == (("rollout_id", "prompt", "reply"), 8)


def test_the_file_hides_model_round_and_scores(export: Export, tmp_path: Path) -> None:
    path = write_export(export, Home.find().store, tmp_path, "csv")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    heading, first, *_ = table(path)
    assert [name.split(" ")[0] for name in heading] == [
        *(
            "rollout_id",
            "prompt",
            "reply",
            "polite",
            "relevant",
            "says_enough",
            "has_an_e",
            "annotator",
            "note",
            "export",
        )
    ]
    assert heading[3] == "polite (yes, no or 0 to 1)"
    assert first[1].startswith("Please help with the ")
    assert set(first[3:9]) == {""}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_nasty_replies_and_notes_come_through_a_spreadsheet(
    finished_copy: Path, tmp_path: Path, separator: str
) -> None:
    home = Home.find()
    for round_ in (1, 2):
        batch = RecordStore(home.store).current(f"tiny/round_{round_}/reward_batches")
        assert batch is not None
        rows = pl.read_parquet(batch.path("reward_batches.parquet"))
        nasty = [NASTY[place % len(NASTY)] for place in range(rows.height)]
        rows.with_columns(completion=pl.Series(nasty)).write_parquet(batch.path("reward_batches.parquet"))
    export = draw_export(load_campaign(finished_copy), home, 32)
    path = write_export(export, home.store, tmp_path, "csv")
    cells = {cell for row in table(path) for cell in row}
    assert not [cell for cell in cells if cell and cell[0] in "=+-@\t\r"]
    assert {"'-2+3", "''=x", "'\tTab", NASTY[2], "a\ufffdb"} <= cells
    filled(path, separator=separator, note='\'=he said; "no",\n😀', relevant="0,5")
    done = imported(path)
    assert (done.new, done.rejected, done.annotators) == (64, (), ("Anna",))
    assert set(stored()["note"]) == {'=he said; "no",\n😀'}
    assert set(stored().filter(criterion="relevant")["value"]) == {0.5}


def test_labels_are_kept_with_where_they_come_from(export: Export, tmp_path: Path) -> None:
    store = Home.find().store
    path = write_export(export, store, tmp_path, "csv")
    rows = filled(path, note="sure")
    assert imported(path).new == 8
    found = stored()
    assert found["label_id"].n_unique() == 8
    by_rollout = {row["rollout_id"]: row for row in found.iter_rows(named=True)}
    assert by_rollout[rows[1][0]]["value"] == 0
    assert found["value"].sum() == 7
    assert set(found["batch"]) == {export.id}
    drawn = {row["rollout_id"]: row for row in drawn_rows(export, store).iter_rows(named=True)}
    for rollout_id, row in by_rollout.items():
        assert row["inclusion"] == drawn[rollout_id]["inclusion"]
        assert row["split"] == split_of(drawn[rollout_id]["prompt_id"])


def test_the_same_file_again_adds_nothing_and_a_changed_value_takes_the_place(export: Export, tmp_path: Path) -> None:
    path = write_export(export, Home.find().store, tmp_path, "csv")
    filled(path)
    imported(path)
    again = imported(path)
    assert (again.new, again.changed, again.unchanged) == (0, 0, 8)
    filled(path, polite="0.5")
    changed = imported(path)
    assert (changed.new, changed.changed, changed.unchanged) == (0, 8, 0)
    assert stored()["value"].to_list() == [0.5] * 8
    filled(path, annotator="Ben")
    assert imported(path).new == 8
    assert stored().height == 16


def test_the_same_file_again_mends_labels_that_stand_twice(export: Export, tmp_path: Path) -> None:
    table = labels_table(Home.find().store)
    path = write_export(export, Home.find().store, tmp_path, "csv")
    filled(path)
    imported(path)
    table.append(stored().head(3))
    assert table.doubled().height == 3
    again = imported(path)
    assert (again.new, again.changed, again.unchanged) == (0, 3, 5)
    assert table.doubled().is_empty()


def test_wrong_rows_are_named_and_nothing_is_written(export: Export, tmp_path: Path) -> None:
    path = write_export(export, Home.find().store, tmp_path, "csv")
    rows = filled(path, note="two\nlines")
    rows[1][3] = "maybe"
    rows[2][7] = " "
    rows[3][0] = "ffff"
    rows.append(rows[4])
    rows[5][3] = ""
    save(path, rows)
    with pytest.raises(DataError) as error:
        imported(path)
    *said, last = str(error.value).splitlines()
    assert said == [
        f'{path}: row 2: polite: "maybe" is not a label: write yes, no or a number from 0 to 1',
        f"{path}: row 3: no annotator: write who labelled it",
        f'{path}: row 4: no export "{export.id}" of tiny has rollout_id "ffff"',
        f"{path}: row 10: Anna already labelled rollout {rows[4][0]} in row 5",
    ]
    assert last == "Nothing was imported: correct the file, or leave these rows out with --skip-wrong"
    assert stored().is_empty()
    done = imported(path, skip_wrong=True)
    assert (done.new, done.empty_rows, done.rejected) == (4, 1, tuple(said))


def test_jsonl_comes_back_too(export: Export, tmp_path: Path) -> None:
    path = write_export(export, Home.find().store, tmp_path, "jsonl")
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows[0]["labels"] == dict.fromkeys(("polite", "relevant", "says_enough", "has_an_e"))
    for row in rows:
        row |= {"annotator": "Ben", "labels": {"polite": True, "relevant": 0.25}}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert imported(path).new == 16
    rows[0]["labels"] = {"brief": 1}
    rows[1]["labels"] = "yes"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match='line 1: the export has no criterion "brief"; allowed: polite') as error:
        imported(path)
    assert 'line 2: `labels` must be an object of criteria and values, is "yes"' in str(error.value)


def test_files_that_are_no_export_are_refused(export: Export, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("a|b\n1|2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"no column rollout_id, annotator, export; there are: a\|b"):
        imported(path)
    path.write_bytes("rollout_id;Straße\n1;2\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"not UTF-8.*in Excel: Save As, file type .CSV UTF-8."):
        imported(path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="no rows after the first"):
        imported(path)
    with pytest.raises(DataError, match=r"allowed file types: \.csv"):
        imported(tmp_path / "labels.xlsx")


def test_before_a_round_or_an_export_there_is_one_message(tiny_campaign: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="tiny has no judged round; run it first: rft run tiny"):
        draw_export(load_campaign(tiny_campaign), Home.find(), 8)
    path = tmp_path / "labels.csv"
    path.write_text("rollout_id,annotator,export\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="rft labels export tiny"):
        imported(path)


def test_a_criterion_called_like_a_column_is_refused(finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.0.name", "note")
    with pytest.raises(ConfigError, match="already has a column note"):
        draw_export(load_campaign(finished_copy), Home.find(), 8)


def test_estimates_stand_beside_each_other(export: Export, finished_copy: Path, tmp_path: Path) -> None:
    home, campaign = Home.find(), load_campaign(finished_copy)
    assert estimates(campaign, home) == {}
    path = write_export(export, home.store, tmp_path, "csv")
    filled(path)
    imported(path)
    found = estimates(campaign, home)
    assert set(found) == {"polite"}
    scores = population.population(campaign, home)["scores"].struct.field("polite")
    assert found["polite"].judge.mean == pytest.approx(scores.mean())
    weights = 1 / drawn_rows(export, home.store)["inclusion"].to_numpy()
    assert found["polite"].human.mean == pytest.approx(1 - weights[0] / weights.sum())
    assert 0 <= found["polite"].powered.lower95 <= found["polite"].powered.upper95 <= 1
    filled(path, relevant="1")
    imported(path)
    with_reward = estimates(campaign, home)
    assert set(with_reward) == {"polite", "relevant", "reward"}
    assert with_reward["reward"].labelled == 8


def test_commas_in_a_question_do_not_hide_the_semicolons_between_cells(tmp_path: Path) -> None:
    path = tmp_path / "filled.csv"
    path.write_text(
        "rollout_id;grade (1, none, 2, some, 3, most, 4, all);annotator;export\nr1;3;Ines;e1\n", encoding="utf-8"
    )
    assert read_filled(path).rows == (
        ("row 2", {"rollout_id": "r1", "grade": "3", "annotator": "Ines", "export": "e1"}),
    )


@pytest.mark.parametrize(
    "text",
    [
        "rollout_id;polite (yes, no or 0 to 1) Is it, or not?;annotator;export\nr1;yes;Anna;e1\n",
        "rollout_id\tpolite\tannotator\texport\nr1\tyes\tAnna\te1\n",
        "\ufeffrollout_id;polite;annotator;export\r\nr1;yes;Anna;e1\r\n",
        "export;annotator;polite;rollout_id\ne1;Anna;yes;r1\n",
        "sep=;\r\nrollout_id;polite;annotator;export\r\nr1;yes;Anna;e1\r\n",
        ";;;\nrollout_id;polite;annotator;export;;\n\nr1;yes;Anna;e1;;\n;;;;;\n",
    ],
)
def test_what_spreadsheets_make_of_a_file_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode())
    filled = read_filled(path)
    rows = [cells for _, cells in filled.rows]
    assert filled.wrong == ()
    assert rows[0] == {"rollout_id": "r1", "polite": "yes", "annotator": "Anna", "export": "e1"}
    assert all(not any(cells.values()) for cells in rows[1:])
