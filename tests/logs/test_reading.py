"""Logs as they come: folders, globs, three formats, and rows that cannot be used."""

from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.errors import ConfigError, DataError
from rft_pipeline.logs.reading import log_files, read_logs
from tests.logs.small import write_logs

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
    with pytest.raises(ConfigError, match=r"notes.txt: schedule.retrain.logs: not read; allowed are .jsonl, .jsonl.gz"):
        log_files(tmp_path, "logs/*")


def test_messages_count_up_to_the_last_user_turn(tmp_path: Path) -> None:
    path = write_logs(tmp_path / "a.jsonl", [{"messages": CHAT, "shop": "north"}, {"id": "x", "prompt": "Hi"}])
    first, second = read_logs([path], None)
    assert [turn["content"] for turn in first.messages] == ["Hello", "Hello!", "My lamp is late."]
    assert (first.id, first.fields) == ("a.jsonl:1", {"shop": "north"})
    assert (second.id, second.messages) == ("x", [{"role": "user", "content": "Hi"}])


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    rows = [{"prompt": "Hi", "no_training": True}, {"prompt": "Ho", "no_training": False}]
    jsonl = write_logs(tmp_path / "a.jsonl", rows)
    pl.DataFrame(rows).write_csv(tmp_path / "a.csv")
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    read = [read_logs([path], "no_training") for path in (jsonl, tmp_path / "a.csv", tmp_path / "a.parquet")]
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
        f"{path}: line 2: has neither messages nor prompt",
        f'{path}: line 3: messages: must be a list of messages, is "Hi"; a text goes into prompt',
        f'{path}: line 4: no_training: must be true, false or null, is "yes"',
        f'{path}: line 5: messages[0].role: must be one of system, user, assistant, is "bot"',
    ]


def test_a_misspelled_opt_out_lets_nothing_through(tmp_path: Path) -> None:
    path = write_logs(tmp_path / "a.jsonl", [{"prompt": "Hi", "no_training": True}])
    with pytest.raises(DataError, match=r"no row of the logs has the field 'no_traning' that schedule.retrain.opt_out"):
        read_logs([path], "no_traning")
