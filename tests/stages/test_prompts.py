"""Prompts: what is read, what is refused, and what a hash does not see."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rft_pipeline.campaign import PromptSource, load_campaign
from rft_pipeline.errors import ConfigError, DataError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.prompts.reading import content_hash, merge_duplicates, read_prompts, read_source


def write(path: Path, text: str | bytes) -> PromptSource:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return PromptSource(source=path.name)


def jsonl(path: Path, *rows: Mapping[str, Any]) -> PromptSource:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def refused(source: PromptSource, folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_source(source, folder)
    return str(caught.value).replace(f"{folder}/", "")


def test_a_jsonl_row_becomes_messages_and_fields(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "p.jsonl", {"id": 7, "prompt": "Where is it?", "z": 1, "reference": "There."})
    [row] = read_source(source, tmp_path).to_dicts()
    assert row == {
        "prompt_id": fingerprint([{"role": "user", "content": "Where is it?"}]),
        "id": "7",
        "messages": '[{"content":"Where is it?","role":"user"}]',
        "fields": '{"reference":"There.","z":1}',
    }


def test_rows_without_an_id_are_named_by_file_and_line_and_blank_lines_count(tmp_path: Path) -> None:
    source = write(tmp_path / "p.jsonl", '\ufeff{"prompt": "a\u2028b"}\n\n{"prompt": "c", "id": null}\r\n')
    assert read_source(source, tmp_path)["id"].to_list() == ["p.jsonl:1", "p.jsonl:3"]


def test_rewording_gives_a_new_prompt_id_and_a_new_field_does_not(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": "Where is it?"},
        {"prompt": "Where is it?", "more": 1},
        {"prompt": "Where is it now?"},
    ]
    first, with_field, reworded = read_source(jsonl(tmp_path / "p.jsonl", *rows), tmp_path)["prompt_id"]
    assert first == with_field
    assert first != reworded


def test_every_csv_cell_is_text_whatever_it_looks_like(tmp_path: Path) -> None:
    text = 'id,prompt,needs,price,zip\n001,"one,\ntwo",true,3,01\n2,7,FALSE,2.5,22\n3,x,,,\n'
    rows = read_source(write(tmp_path / "p.csv", text), tmp_path)
    assert rows["id"].to_list() == ["001", "2", "3"]
    assert [json.loads(messages)[0]["content"] for messages in rows["messages"]] == ["one,\ntwo", "7", "x"]
    assert [json.loads(fields) for fields in rows["fields"]] == [
        {"needs": "true", "price": "3", "zip": "01"},
        {"needs": "FALSE", "price": "2.5", "zip": "22"},
        {"needs": None, "price": None, "zip": None},
    ]


def test_a_csv_cell_of_150_000_characters_is_read(tmp_path: Path) -> None:
    rows = read_source(write(tmp_path / "p.csv", f"prompt,context\nOne?,{'x' * 150_000}\n"), tmp_path)
    assert len(json.loads(rows["fields"][0])["context"]) == 150_000


def test_parquet_rows_read_like_jsonl_rows(tmp_path: Path) -> None:
    rows = [{"id": "a", "prompt": "One?", "n": 1}, {"id": "b", "prompt": "Two?", "n": 2}]
    pl.DataFrame(rows).write_parquet(tmp_path / "p.parquet")
    parquet = read_source(PromptSource(source="p.parquet"), tmp_path)
    assert parquet.equals(read_source(jsonl(tmp_path / "p.jsonl", *rows), tmp_path))


def test_dates_of_a_parquet_file_become_text(tmp_path: Path) -> None:
    frame = pl.DataFrame({"prompt": ["One?"], "day": ["2024-02-29"]}).with_columns(pl.col("day").str.to_date())
    frame.write_parquet(tmp_path / "p.parquet")
    assert read_source(PromptSource(source="p.parquet"), tmp_path)["fields"].to_list() == ['{"day":"2024-02-29"}']


def test_a_chat_log_counts_up_to_the_last_user_turn_and_keeps_system_turns(tmp_path: Path) -> None:
    turns = [
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", "Hello!"),
        ("user", "Broken lamp."),
        ("assistant", "Oh"),
    ]
    log = {"messages": [{"role": role, "content": content} for role, content in turns], "agent": "Ann"}
    jsonl(tmp_path / "log.jsonl", log)
    [row] = read_source(PromptSource(source="log.jsonl", format="messages"), tmp_path).to_dicts()
    assert [(turn["role"], turn["content"]) for turn in json.loads(row["messages"])] == turns[:4]
    assert row["fields"] == '{"agent":"Ann","reference":"Oh"}'


@pytest.mark.parametrize(
    "after",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "5 parcels"},
        {"role": "assistant", "content": [{"type": "image_url"}]},
        "no message at all",
    ],
)
@pytest.mark.parametrize("format_", ["messages", "jsonl"])
def test_what_follows_the_last_user_turn_need_not_be_readable(tmp_path: Path, after: Any, format_: Any) -> None:
    key = "messages" if format_ == "messages" else "prompt"
    jsonl(tmp_path / "log.jsonl", {key: [{"role": "user", "content": "Where is it?"}, after]})
    rows = read_source(PromptSource(source="log.jsonl", format=format_), tmp_path)
    assert rows["messages"].to_list() == ['[{"content":"Where is it?","role":"user"}]']


def test_text_parts_of_a_message_are_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Broken "}, {"type": "text", "text": "lamp."}]
    jsonl(tmp_path / "log.jsonl", {"messages": [{"role": "user", "content": parts}]})
    rows = read_source(PromptSource(source="log.jsonl", format="messages"), tmp_path)
    assert rows["messages"].to_list() == ['[{"content":"Broken lamp.","role":"user"}]']


def test_columns_are_mapped_from_our_names_to_theirs(tmp_path: Path) -> None:
    jsonl(tmp_path / "p.jsonl", {"key": "a", "question": "Why?", "prompt": "old"})
    source = PromptSource(source="p.jsonl", columns={"id": "key", "prompt": "question"})
    [row] = read_source(source, tmp_path).to_dicts()
    assert (row["id"], row["fields"]) == ("a", '{"prompt":"old"}')


def test_an_unknown_mapped_column_is_refused_with_those_there_are(tmp_path: Path) -> None:
    jsonl(tmp_path / "p.jsonl", {"id": "a", "text": "Why?"})
    source = PromptSource(source="p.jsonl", columns={"prompt": "question"})
    message = (
        "p.jsonl: no column 'question' for our 'prompt'; it has: id, text (map names, e.g. "
        "`columns: {prompt: text}`, or `--columns prompt=text` of rft new)"
    )
    assert refused(source, tmp_path) == message


def test_every_bad_line_is_named_with_key_value_and_what_is_allowed(tmp_path: Path) -> None:
    lines = [
        b'{"prompt": "fine"}',
        b'{"prompt": "broken',
        b'["prompt"]',
        b'{"prompt": "\xff"}',
        b'{"prompt": 5}',
        b'{"prompt": "  "}',
        b'{"id": "x"}',
        b'{"prompt": "a", "prompt": "b"}',
        b'{"prompt": "a", "n": NaN}',
        b'{"prompt": "\\ud83d"}',
        b'{"prompt": "a", "id": true}',
        b'{"prompt": "a", "id": " "}',
    ]
    assert refused(write(tmp_path / "p.jsonl", b"\n".join(lines)), tmp_path).split("\n") == [
        "p.jsonl: line 2: not JSON: Unterminated string starting at at character 12; each line must be one object",
        'p.jsonl: line 3: must be an object like {"prompt": "..."}, is ["prompt"]',
        "p.jsonl: line 4: not UTF-8: byte 0xff; save the file as UTF-8",
        "p.jsonl: line 8: key 'prompt' appears twice",
        "p.jsonl: line 9: NaN is not a JSON value; use a number or null",
        "p.jsonl: line 10: contains half of a surrogate pair (\\ud800 to \\udfff), which is not a character",
        "p.jsonl: line 5: prompt: must be a text or a list of messages, is 5",
        "p.jsonl: line 6: prompt: is empty",
        "p.jsonl: line 7: prompt: is missing",
        "p.jsonl: line 11: id: must be a text or a whole number, is true",
        "p.jsonl: line 12: id: is empty; remove it to name the row p.jsonl:12",
    ]


def test_five_findings_of_a_kind_are_spelled_out_and_the_rest_are_counted(tmp_path: Path) -> None:
    lines = refused(jsonl(tmp_path / "p.jsonl", *[{"prompt": i} for i in range(23)]), tmp_path).split("\n")
    assert len(lines) == 6
    assert lines[-1] == "… and 18 more like the last"


@pytest.mark.parametrize(
    ("messages", "finding"),
    [
        ([], "messages: no user turn among its 0 messages"),
        ([{"role": "assistant", "content": "Hi"}], "messages: no user turn among its 1 messages"),
        ([{"role": "user", "content": ""}], "messages: is empty"),
        (["Hi"], 'messages[0]: must be an object with role and content, is "Hi"'),
        ([{"role": "bot", "content": "Hi"}], 'messages[0].role: must be one of system, user, assistant, is "bot"'),
        ([{"role": "user", "content": None}], "messages[0].content: must be a text, is null"),
        (
            [{"role": "user", "content": [{"type": "image_url"}]}],
            'messages[0].content: must be a text, is [{"type": "image_url"}]',
        ),
    ],
)
def test_a_chat_log_that_asks_nothing_is_refused(tmp_path: Path, messages: Any, finding: str) -> None:
    jsonl(tmp_path / "log.jsonl", {"messages": messages})
    source = PromptSource(source="log.jsonl", format="messages")
    assert refused(source, tmp_path) == f"log.jsonl: line 1: {finding}"


@pytest.mark.parametrize(
    ("name", "content", "finding"),
    [
        ("p.jsonl", b"", "p.jsonl: contains no rows; at least one prompt is needed"),
        ("p.csv", b"prompt\n", "p.csv: contains no rows; at least one prompt is needed"),
        ("p.csv", b"prompt\na\nb,c\n", "p.csv: line 3: 2 cells; the header has 1"),
        ("p.csv", b"prompt,prompt\na,b\n", "p.csv: line 1: columns named twice: prompt"),
        ("p.csv", b"prompt\na\n\xe9\n", "p.csv: line 3: not UTF-8: byte 0xe9; save it as UTF-8"),
        ("p.csv", b'prompt\n"a\nb', "p.csv: line 2: not CSV: unexpected end of data"),
        ("p.csv", b"id,prompt\n1,\n", "p.csv: line 2: prompt: is missing"),
        ("p.parquet", b"PAR1 torn", "p.parquet: not a Parquet file, or a damaged one: "),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, content: bytes, finding: str) -> None:
    assert refused(write(tmp_path / name, content), tmp_path).startswith(finding)


def test_parquet_values_without_a_json_spelling_are_refused(tmp_path: Path) -> None:
    frame = pl.DataFrame({"prompt": ["a", "b", None], "x": [float("nan"), 1.0, 1.0], "y": [b"", b"\0", None]})
    frame.write_parquet(tmp_path / "p.parquet")
    assert refused(PromptSource(source="p.parquet"), tmp_path).split("\n") == [
        "p.parquet: row 1: x: nan has no fingerprint; use a finite number",
        "p.parquet: row 2: y: bytes has no canonical JSON; pass plain data",
        "p.parquet: row 3: prompt: is missing",
    ]


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.parquet"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    assert refused(PromptSource(source=name), tmp_path) == f"{name}: no such file"


def test_an_unknown_ending_is_refused_with_the_formats_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown file type 'txt'; allowed: jsonl, json, csv, parquet, hub"):
        read_source(PromptSource(source="p.txt"), tmp_path)


def test_a_folder_laid_out_like_a_hub_data_set_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    jsonl(tmp_path / "train.jsonl", {"question": "One?"}, {"question": "Two?"})
    source = PromptSource(source=str(tmp_path), format="hub", columns={"prompt": "question"})
    assert read_source(source, tmp_path)["id"].to_list() == [f"{tmp_path}:1", f"{tmp_path}:2"]


def test_a_hub_that_cannot_be_reached_says_what_to_do(tmp_path: Path) -> None:
    source = PromptSource(source="nobody/has-this", format="hub", split="test")
    message = refused(source, tmp_path)
    assert message.startswith("hub data set nobody/has-this, split test: ")
    assert message.endswith("save the rows as a .jsonl file in the campaign's folder and use that as the source.")


def test_the_first_of_equal_prompts_stays_and_the_others_are_counted(tmp_path: Path) -> None:
    rows = [{"id": name, "prompt": prompt} for name, prompt in (("a", "One?"), ("b", "Two?"), ("c", "One?"))]
    unique, merged = merge_duplicates(read_source(jsonl(tmp_path / "p.jsonl", *rows), tmp_path))
    assert unique["id"].to_list() == ["a", "b"]
    assert merged == 1


def test_both_splits_are_read_in_order(tiny_campaign: Path) -> None:
    read = read_prompts(load_campaign(tiny_campaign))
    assert read.rows.columns == ["prompt_id", "id", "split", "messages", "fields"]
    assert read.rows["split"].to_list() == ["train"] * 12 + ["eval"] * 6
    assert read.merged == 0


def test_the_content_hash_sees_rows_and_not_their_spelling(tmp_path: Path) -> None:
    plain = jsonl(tmp_path / "plain.jsonl", {"prompt": "a", "x": {"m": 1, "n": 2}}, {"prompt": "b", "x": None})
    spaced = write(
        tmp_path / "spaced.jsonl",
        '\n{ "x": {"n": 2,   "m": 1.0}, "prompt": "\\u0061" }\r\n\n{"x":null,"id":"named","prompt":"b"}',
    )
    other = jsonl(tmp_path / "other.jsonl", {"prompt": "a", "x": {"m": 1, "n": 3}}, {"prompt": "b", "x": None})
    hashes = [content_hash(read_source(source, tmp_path)) for source in (plain, spaced, other)]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]
