"""Logs as they come: folders, globs, three formats, and rows that cannot be used."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.errors import ConfigError, DataError
from rft_pipeline.prompts.logs import log_files, read_logs, unread_files
from rft_pipeline.prompts.rows import csv_rows
from tests.prompts.small import write_logs

CHAT = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "My lamp is late."},
    {"role": "assistant", "content": "I am sorry."},
]


def test_a_folder_and_a_glob_name_the_same_files(tmp_path: Path) -> None:
    b = write_logs(tmp_path / "logs" / "new" / "b.jsonl", [{"prompt": "b"}])
    a = write_logs(tmp_path / "logs" / "a.csv", [])
    write_logs(tmp_path / "logs" / "notes.txt", [])
    assert log_files(tmp_path, "logs") == [a, b]
    assert log_files(tmp_path, "logs/**/*.jsonl") == [b]
    assert log_files(tmp_path, str(tmp_path / "logs" / "*.csv")) == [a]
    assert log_files(tmp_path, "nothing/*.jsonl") == []
    with pytest.raises(
        ConfigError, match=r"notes.txt: schedule.retrain.logs: unknown format; allowed: .jsonl, .jsonl.gz"
    ):
        log_files(tmp_path, "logs/*")


def test_hidden_files_and_odd_folder_names(tmp_path: Path) -> None:
    folder = tmp_path / "shop [north]"
    a = write_logs(folder / "logs" / "a.jsonl", [{"prompt": "a"}])
    write_logs(folder / "logs" / ".b.jsonl", [{"prompt": "half of it"}])
    write_logs(folder / "logs" / ".tmp" / "c.jsonl", [{"prompt": "a copy"}])
    assert log_files(folder, "logs/**/*.jsonl") == [a]
    named = write_logs(tmp_path / ".spool" / "d.jsonl", [{"prompt": "a folder that is named is read"}])
    assert log_files(folder, str(tmp_path / ".spool" / "*.jsonl")) == [named]
    assert log_files(folder, "logs") == log_files(folder, "logs/*.jsonl") == [a]
    write_logs(folder / "logs" / "old.txt", [])
    assert [path.name for path in unread_files(folder, "logs")] == ["old.txt"]


def test_compressed_files_are_read_and_damaged_ones_named(tmp_path: Path) -> None:
    packed = tmp_path / "logs" / "a.jsonl.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(b'{"prompt": "Hi"}\n'))
    assert log_files(tmp_path, "logs") == [packed]
    ((row,), *_) = read_logs([packed], None)
    assert (row.id, row.messages[0]["content"]) == ("a.jsonl.gz:1", "Hi")
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"a.jsonl.gz: not a gzip file, or a damaged one"):
        read_logs([packed], None)


def test_a_line_that_is_still_being_written_waits_for_the_next_look(tmp_path: Path) -> None:
    path = write_logs(tmp_path / "a.jsonl", [{"prompt": "whole"}])
    with path.open("a", encoding="utf-8") as growing:
        growing.write('{"prompt": "ha')
    assert [row.messages[0]["content"] for row in read_logs([path], None).rows] == ["whole"]
    with path.open("a", encoding="utf-8") as growing:
        growing.write("\n")
    with pytest.raises(DataError, match=r"a.jsonl: line 2: not JSON"):
        read_logs([path], None)


@pytest.mark.parametrize("packed", [False, True])
def test_a_csv_record_that_is_still_being_written_waits_for_the_next_look(tmp_path: Path, packed: bool) -> None:
    header, whole = "id,prompt,no_training\n", 'a,"My lamp\nis late.",false\n'

    def read(last: str) -> list[tuple[str, bool]]:
        path = tmp_path / ("a.csv.gz" if packed else "a.csv")
        data = (header + whole + last).encode()
        path.write_bytes(gzip.compress(data) if packed else data)
        return [(row.id, row.opted_out) for row in read_logs([path], "no_training").rows]

    for last in ('b,"Never use', 'b,"Never use this",', "b,Never use this,tru", 'b,"Never\nuse', "b", "", 'b,"a ""'):
        assert read(last) == [("a", False)]
    assert read('b,"Never use\nthis",true\n') == [("a", False), ("b", True)]


def test_a_csv_header_that_is_still_being_written_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,pro", encoding="utf-8")
    assert read_logs([path], None) == ([], [], [])


def test_an_opt_out_takes_every_row_of_its_id_and_of_its_words_with_it(tmp_path: Path) -> None:
    rows = [
        {"id": "chat-1", "prompt": "Hello"},
        {"id": "chat-1", "prompt": "Where is it?", "no_training": True},
        {"id": "chat-2", "prompt": "Where is it?"},
        {"id": "chat-3", "prompt": "Thank you"},
        {"prompt": "Bye"},
    ]
    read, *_ = read_logs([write_logs(tmp_path / "a.jsonl", rows)], "no_training")
    assert [row.opted_out for row in read] == [True, True, True, False, False]


def test_messages_count_up_to_the_last_user_turn(tmp_path: Path) -> None:
    path = write_logs(tmp_path / "a.jsonl", [{"messages": CHAT, "shop": "north"}, {"id": "x", "prompt": "Hi"}])
    (first, second), *_ = read_logs([path], None)
    assert [turn["content"] for turn in first.messages] == ["Hello", "Hello!", "My lamp is late."]
    assert (first.id, first.fields) == ("a.jsonl:1", {"shop": "north", "logged_reply": "I am sorry."})
    assert (second.id, second.messages) == ("x", [{"role": "user", "content": "Hi"}])


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    rows = [{"prompt": "Hi", "no_training": True}, {"prompt": "Ho", "no_training": False}]
    jsonl = write_logs(tmp_path / "a.jsonl", rows)
    pl.DataFrame(rows).write_csv(tmp_path / "a.csv")
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    read = [read_logs([path], "no_training").rows for path in (jsonl, tmp_path / "a.csv", tmp_path / "a.parquet")]
    seen = [[(row.prompt_id, row.opted_out, row.fields) for row in rows] for rows in read]
    assert seen[0] == seen[1] == seen[2]
    assert [opted_out for _, opted_out, _ in seen[0]] == [True, False]


def test_every_row_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = write_logs(
        tmp_path / "a.jsonl",
        [
            {"prompt": "Hi", "no_training": None},
            {"text": "Hi"},
            {"messages": "Hi"},
            {"prompt": "Hi", "no_training": "yes"},
            {"messages": [{"role": "bot", "content": "Hi"}]},
        ],
    )
    with pytest.raises(DataError) as refused:
        read_logs([path], "no_training")
    assert str(refused.value).splitlines() == [
        f"{path}: line 4: no_training: must be true, false or null",
        f"{path}: line 2: has neither messages nor prompt",
        f"{path}: line 3: messages: must be a list of messages; put a text into prompt",
        f"{path}: line 5: messages[0].role: must be one of system, user, assistant",
    ]


def test_a_row_that_opts_out_needs_no_text(tmp_path: Path) -> None:
    rows = [{"id": "c1", "prompt": "Hi"}, {"id": "c2", "prompt": "Ho"}, {"id": "c1", "no_training": True}]
    read = read_logs([write_logs(tmp_path / "a.jsonl", rows)], "no_training")
    assert ([row.opted_out for row in read.rows], read.unusable) == ([True, False, True], [])


def test_odd_rows_are_counted_and_quote_nothing_and_most_of_them_are_refused(tmp_path: Path) -> None:
    called = {"role": "assistant", "content": None, "tool_calls": []}
    rows = [
        {"prompt": "Hi"},
        {"messages": [*CHAT[:3], called, {"role": "tool", "content": "late"}]},
        {"messages": [*CHAT[:1], called, *CHAT[2:]]},
        {"prompt": ""},
        {"prompt": ["ann@b.example"]},
        {"messages": CHAT},
    ]
    path = write_logs(tmp_path / "a.jsonl", rows)
    read = read_logs([path], None)
    assert [row.id for row in read.rows] == ["a.jsonl:1", "a.jsonl:2", "a.jsonl:6"]
    assert read.unusable == [
        f"{path}: line 3: messages[1].content: must be a text",
        f"{path}: line 4: prompt: is empty",
        f"{path}: line 5: prompt[0]: must be an object with role and content",
    ]
    with pytest.raises(DataError, match=r"line 3: messages\[1\].content: must be a text\n.*line 4: .*\n.*line 5: "):
        read_logs([write_logs(tmp_path / "a.jsonl", rows[:5])], None)


def test_a_field_without_one_spelling_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"prompt": ["Hi", "Ho"], "paid": [1.5, float("nan")]}).write_parquet(path)
    assert read_logs([path], None).unusable == [f"{path}: row 2: paid: nan has no fingerprint; use a finite number"]


def test_a_line_that_is_no_object_is_refused_without_its_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('"ann@b.example"\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1: must be an object like \{.*\}$"):
        read_logs([path], None)


def test_a_misspelled_opt_out_lets_nothing_through(tmp_path: Path) -> None:
    path = write_logs(tmp_path / "a.jsonl", [{"prompt": "Hi", "no_training": True}])
    with pytest.raises(DataError, match=r"no row of the logs has the field 'no_traning' that schedule.retrain.opt_out"):
        read_logs([path], "no_traning")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_may_be_separated_by_commas_semicolons_or_tabs(tmp_path: Path, separator: str) -> None:
    rows = [["id", "prompt"], ["1", '"Where, please; is it?"'], ["2", "Lost"]]
    path = tmp_path / "train.csv"
    path.write_text("\n".join(separator.join(row) for row in rows) + "\n", encoding="utf-8")
    assert [row.values for row in csv_rows(path, [])] == [
        {"id": "1", "prompt": "Where, please; is it?"},
        {"id": "2", "prompt": "Lost"},
    ]


def test_rows_with_another_separator_than_the_header_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("id,prompt\nt1;Where is it, please?\nt2;A refund, now.\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"the header has commas between its columns, the rows have semicolons"):
        csv_rows(path, [])
    path.write_text('prompt,id\n"One; two",t1\n"Three; four",t2\n', encoding="utf-8")
    assert [row.values["prompt"] for row in csv_rows(path, [])] == ["One; two", "Three; four"]
