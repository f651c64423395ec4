"""Small files of a table are merged while others append and read."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError
from filelock import FileLock

from rft_pipeline.store import tables
from rft_pipeline.store.tables import Table
from tests.store.scores import SCHEMA, keys, rows, scores_at


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return scores_at(tmp_path / "tables" / "scores")


def append_one_by_one(table: Table, name: str, count: int) -> None:
    for number in range(count):
        table.append(rows(f"{name}{number}", kind="ab"[number % 2]))


def append_in_another_process(path: str, name: str) -> None:
    append_one_by_one(scores_at(path), name, 20)


def files(table: Table) -> list[str]:
    return list(DeltaTable(table.path).file_uris())


@pytest.fixture
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SMALL_FILES", 4)


@pytest.mark.usefixtures("_few_are_many")
def test_small_files_are_merged_where_they_are_many_and_no_row_changes(table: Table) -> None:
    append_one_by_one(table, "x", 8)
    before = table.rows().sort("id").collect()
    assert table.tidy() == 0
    assert len(files(table)) == 4 + 4
    table.append(rows("more", kind="a"))
    assert table.tidy() == 5
    assert len(files(table)) == 1 + 4
    assert table.rows().filter(pl.col("id") != "more").sort("id").collect().equals(before)
    wanted = keys("x3", "more", "gone", "x0")
    assert table.read(wanted)["id"].to_list() == ["x3", "more", "x0"]
    assert table.missing(wanted)["id"].to_list() == ["gone"]


@pytest.mark.usefixtures("_few_are_many")
def test_a_table_without_partitions_is_merged_into_one_file(tmp_path: Path) -> None:
    table = Table(tmp_path / "plain", SCHEMA, key="id")
    append_one_by_one(table, "x", 5)
    assert table.tidy() == 5
    assert len(files(table)) == 1
    assert table.tidy() == 0


def test_an_empty_table_is_tidy(table: Table) -> None:
    assert table.tidy() == 0


@pytest.mark.usefixtures("_few_are_many")
def test_who_began_to_read_before_a_merge_reads_on(table: Table) -> None:
    append_one_by_one(table, "x", 10)
    begun = pl.scan_parquet(files(table))
    assert table.tidy() == 10
    assert begun.select("id").collect().height == 10


@pytest.mark.usefixtures("_few_are_many")
def test_only_one_process_tidies_a_table(table: Table) -> None:
    append_one_by_one(table, "x", 10)
    with FileLock(f"{table.path}.lock"):
        assert table.tidy() == 0
    assert table.tidy() == 10


@pytest.mark.usefixtures("_few_are_many")
def test_a_table_made_with_other_settings_is_appended_to_merged_and_read(table: Table) -> None:
    for name in "abcde":
        write_deltalake(table.path, rows(name), mode="append", partition_by=["kind"])
    table.append(rows("f"))
    assert table.tidy() == 6
    assert table.read(keys(*"fa"))["id"].to_list() == ["f", "a"]


def test_those_who_make_a_table_at_the_same_moment_all_get_their_rows_in(tmp_path: Path) -> None:
    together = Barrier(8)

    def append(table: Table, name: str) -> None:
        together.wait()
        table.append(rows(name))

    with ThreadPoolExecutor(8) as pool:
        for attempt in range(20):
            table = scores_at(tmp_path / str(attempt))
            for done in [pool.submit(append, table, name) for name in "abcdefgh"]:
                done.result()
            assert table.missing(keys(*"abcdefgh")).height == 0


@pytest.mark.usefixtures("_few_are_many")
def test_two_processes_append_while_a_third_tidies(table: Table) -> None:
    spawn = multiprocessing.get_context("spawn")
    others = [spawn.Process(target=append_in_another_process, args=(table.path, name)) for name in "xy"]
    for other in others:
        other.start()
    merged = 0
    while any(other.is_alive() for other in others):
        merged += table.tidy()
        assert table.missing(keys("never")).height == 1
    assert [other.exitcode for other in others] == [0, 0]
    assert merged + table.tidy() > 0
    assert table.missing(keys(*(f"{name}{number}" for name in "xy" for number in range(20)))).height == 0


@pytest.mark.usefixtures("_few_are_many")
def test_a_merge_that_never_commits_first_is_left_for_the_next(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    append_one_by_one(table, "x", 10)
    before = table.rows().sort("id").collect()

    def overtaken(self: Table, delta: object) -> int:
        raise CommitFailedError("Failed to commit transaction: 15")

    with monkeypatch.context() as others_append:
        others_append.setattr(Table, "_merge", overtaken)
        assert table.tidy() == 0
    assert table.tidy() == 10
    assert table.rows().sort("id").collect().equals(before)
