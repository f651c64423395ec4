from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier

import polars as pl
import pytest
from deltalake import DeltaTable

from rft_pipeline.store import judgements_table, rollouts_table
from rft_pipeline.store.rows import JUDGEMENTS, ROLLOUTS, judgement_id, rollout_id
from rft_pipeline.store.tables import Table
from tests.store.scores import SCHEMA, keys, rows, scores_at


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return scores_at(tmp_path / "tables" / "scores")


def test_an_empty_table_lacks_everything_and_has_no_rows(table: Table) -> None:
    assert table.missing(keys("x", "y"))["id"].to_list() == ["x", "y"]
    assert table.read(keys("x", "y")).height == 0
    assert table.rows().collect().schema == SCHEMA


def test_rows_appended_in_two_commits_are_read_in_the_order_wanted(table: Table) -> None:
    table.append(rows("x", "y"))
    table.append(rows("z"))
    assert table.read(keys("z", "x", "y"))["id"].to_list() == ["z", "x", "y"]
    assert DeltaTable(table.path).version() == 1


def test_missing_rows_keep_their_order_and_columns(table: Table) -> None:
    table.append(rows("b", "d"))
    missing = table.missing(keys("e", "d", "c", "b", "a"))
    assert missing.rows() == [("e", 0), ("c", 2), ("a", 4)]


def test_keys_the_table_lacks_are_left_out(table: Table) -> None:
    table.append(rows("x"))
    assert table.read(keys("y", "x"))["id"].to_list() == ["x"]


def test_nothing_wanted_reads_nothing(table: Table) -> None:
    table.append(rows("x"))
    assert table.read(keys()).height == 0
    assert table.missing(keys()).height == 0


def test_a_key_that_was_appended_twice_is_read_once(table: Table) -> None:
    table.append(rows("x", "y"))
    table.append(rows("x"))
    assert table.read(keys("x", "y"))["id"].to_list() == ["x", "y"]
    assert table.rows().collect().height == 2


def test_a_condition_narrows_the_table(table: Table) -> None:
    table.append(rows("x", kind="a"))
    table.append(rows("y", kind="b"))
    assert table.missing(keys("x", "y"), pl.col("kind") == "a")["id"].to_list() == ["y"]
    assert table.read(keys("x", "y"), pl.col("kind") == "b")["id"].to_list() == ["y"]


def test_a_score_that_is_null_stays_null(table: Table) -> None:
    table.append(rows("x", score=None))
    assert table.read(keys("x"))["score"].to_list() == [None]


def at_once(*work: Callable[[], None]) -> None:
    start = Barrier(len(work))

    def run(each: Callable[[], None]) -> None:
        start.wait()
        each()

    with ThreadPoolExecutor(len(work)) as pool:
        list(pool.map(run, work))


def test_upserts_at_once_leave_each_key_once(tmp_path: Path) -> None:
    for attempt in range(5):
        table = Table(tmp_path / str(attempt), SCHEMA, key="id")
        at_once(*(partial(table.upsert, rows("x", "y", score=score)) for score in (0.1, 0.2)))
        at_once(*(partial(table.upsert, rows("x", "z", score=score)) for score in (0.3, 0.4)))
        stored = pl.read_delta(table.path).sort("id")
        assert stored["id"].to_list() == ["x", "y", "z"]
        assert stored["score"][0] == stored["score"][2]


def test_an_upsert_mends_keys_that_stand_twice(table: Table) -> None:
    table.append(rows("x", "y"))
    table.append(rows("x"))
    table.upsert(rows("x", score=0.9))
    assert sorted(pl.read_delta(table.path).select("id", "score").rows()) == [("x", 0.9), ("y", 0.5)]


def test_of_rows_with_one_key_the_last_is_upserted(table: Table) -> None:
    for score in (0.2, 0.4):
        table.upsert(pl.concat([rows("x", score=score), rows("x", score=score + 0.1)]))
        assert pl.read_delta(table.path)["score"].to_list() == [score + 0.1]


def test_rows_of_another_shape_are_refused(table: Table) -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="score"):
        table.append(rows("x").drop("score"))
    with pytest.raises(pl.exceptions.InvalidOperationError):
        table.append(rows("x").with_columns(score=pl.lit("high")))
    assert table.rows().collect().height == 0


def test_columns_may_come_in_any_order(table: Table) -> None:
    table.append(rows("x").select("score", "kind", "id"))
    assert table.read(keys("x")).rows() == [("x", "a", 0.5)]


def test_a_rollouts_lists_survive(tmp_path: Path) -> None:
    table = rollouts_table(tmp_path)
    row = {
        "rollout_id": "r1",
        "policy": "p",
        "prompt_id": "q",
        "sampling": "s",
        "sample_index": 0,
        "prompt_tokens": [1, 2],
        "tokens": [3],
        "logprobs": [-0.25],
        "completion": "é\n",
        "thought": "",
        "thought_tokens": 0,
        "finish_reason": "stop",
    }
    table.append(pl.DataFrame([row]))
    (found,) = table.read(pl.DataFrame({"rollout_id": ["r1"]})).to_dicts()
    assert found == row
    assert table.rows().collect_schema() == ROLLOUTS


def test_judgements_lie_in_one_folder_a_criterion(tmp_path: Path) -> None:
    table = judgements_table(tmp_path)
    judgement = {
        "judgement_id": "j1",
        "criterion": "c1",
        "judge": "m",
        "subject": "s",
        "score": 1.0,
        "status": "scored",
        "raw": "",
        "reason": "",
        "tokens": 0,
    }
    table.append(pl.DataFrame([judgement], schema=JUDGEMENTS))
    table.append(pl.DataFrame([{**judgement, "judgement_id": "j2", "criterion": "c2"}], schema=JUDGEMENTS))
    assert {path.name for path in Path(table.path).glob("criterion=*")} == {"criterion=c1", "criterion=c2"}


def test_an_address_changes_with_each_of_its_parts() -> None:
    addresses = [("p", "q", "s", 0), ("P", "q", "s", 0), ("p", "Q", "s", 0), ("p", "q", "S", 0), ("p", "q", "s", 1)]
    assert len({rollout_id(*address) for address in addresses}) == 5
    judged = [("c", "j", "s"), ("C", "j", "s"), ("c", "J", "s"), ("c", "j", "S"), ("cj", "", "s")]
    assert len({judgement_id(*address) for address in judged}) == 5


@pytest.mark.parametrize("folder", ["a b", "ö", "#x", "50%", "a=b", "*{x}", "a:b'c\""])
def test_a_table_lies_in_a_folder_of_any_usual_name(folder: str, tmp_path: Path) -> None:
    (tmp_path / "zzz").mkdir()
    table = Table(tmp_path / folder / "scores", SCHEMA, key="id", partition_by=["kind"])
    table.append(rows("x", "y"))
    table.append(rows("z", kind="b 50% ö"))
    assert table.missing(keys("w", "x"))["id"].to_list() == ["w"]
    assert table.read(keys("z", "x")).rows() == [("z", "b 50% ö", 0.5), ("x", "a", 0.5)]
    assert table.rows(pl.col("kind") == "b 50% ö").collect()["id"].to_list() == ["z"]
    assert all(file.is_file() for file in table.files())
    table.upsert(rows("x", score=0.25))
    assert table.doubled().is_empty()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([folder, "zzz"])
