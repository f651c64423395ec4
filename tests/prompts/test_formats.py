"""Formats of rows: each example of the documentation, what is ambiguous, and the spellings of real exports."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rft_pipeline.campaign import ROW_FORMATS, PromptSource
from rft_pipeline.errors import DataError
from rft_pipeline.prompts.formats import LAYOUTS
from rft_pipeline.prompts.logs import read_logs
from rft_pipeline.prompts.reading import read_rows, read_source
from tests.prompts.small import write_logs

PAGE = (Path(__file__).parents[2] / "docs" / "your-campaign.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"```jsonl (\w+)\n(.*?\n)```", PAGE, re.DOTALL))
ASKED = [{"role": "user", "content": "Where is my lamp?"}]
REPLY = "It arrives on Monday."


def read(folder: Path, *rows: dict[str, Any], **source: Any) -> list[tuple[list[dict[str, str]], dict[str, Any]]]:
    """The messages and columns of each prompt."""
    write_logs(folder / "p.jsonl", list(rows))
    found = read_source(PromptSource(source="p.jsonl", **source), folder)
    return [(json.loads(each["messages"]), json.loads(each["fields"])) for each in found.to_dicts()]


def refused(folder: Path, *rows: dict[str, Any], **source: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, *rows, **source)
    return str(caught.value).removeprefix(f"{folder}/")


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_the_example_of_each_format_is_recognised_and_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(EXAMPLES[name], encoding="utf-8")
    found = read_rows(PromptSource(source="p.jsonl"), tmp_path)
    assert found.found.startswith(f"{LAYOUTS[name].title}, recognised: 1 row")  # type: ignore[index]
    (row,) = found.rows.to_dicts()
    assert json.loads(row["messages"]) == ASKED
    replies = {"reference", "logged_reply"} & set(json.loads(row["fields"]))
    assert [json.loads(row["fields"])[column] for column in replies] == [REPLY]


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_a_format_reads_the_same_from_json_csv_and_parquet(name: str, tmp_path: Path) -> None:
    row = json.loads(EXAMPLES[name])
    as_text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in row.items()}
    (tmp_path / "p.json").write_text(json.dumps([row], indent=1), encoding="utf-8")
    if isinstance(row.get("prompt"), str) or "prompt" not in row:  # a prompt in a cell stays as its user wrote it
        pl.DataFrame([as_text]).write_csv(tmp_path / "p.csv")
    pl.DataFrame([as_text if "prompt" not in row else row]).write_parquet(tmp_path / "p.parquet")
    for file in sorted(tmp_path.glob("p.*")):
        (messages,) = read_source(PromptSource(source=file.name), tmp_path)["messages"]
        assert json.loads(messages) == ASKED, file


def test_rows_that_fit_two_formats_are_refused_with_the_lines_to_write(tmp_path: Path) -> None:
    row = {"prompt": "Hi", "messages": ASKED}
    message = (
        "p.jsonl: this looks like rows with a prompt and like conversations of messages (OpenAI, TRL): "
        "add `format: prompts` or `format: messages` (`--format` of rft new)"
    )
    assert refused(tmp_path, row) == message
    assert read(tmp_path, row, format="messages") == [(ASKED, {"prompt": "Hi"})]
    assert read(tmp_path, row, columns={"prompt": "prompt"})[0][0][0]["content"] == "Hi"
    assert "rows look different: line 1 like rows with a prompt, line 2 like ShareGPT" in refused(
        tmp_path, {"prompt": "Hi"}, json.loads(EXAMPLES["sharegpt"])
    )


def test_a_format_that_is_named_wrongly_is_refused_with_the_right_one(tmp_path: Path) -> None:
    assert refused(tmp_path, json.loads(EXAMPLES["sharegpt"]), format="messages") == (
        "p.jsonl: `format: messages` needs `messages`: a list of {role, content}; line 1 has: conversations. "
        "This looks like ShareGPT: write `format: sharegpt` (`--format` of rft new)"
    )
    assert refused(tmp_path, {"instruction": "Hi", "n": 1}).endswith("or `--columns prompt=instruction` of rft new)")


def test_columns_map_messages_and_keys_inside_objects(tmp_path: Path) -> None:
    assert read(tmp_path, {"chat": ASKED, "n": 1}, columns={"messages": "chat"}) == [(ASKED, {"n": 1})]
    run = {"inputs": {"task": "Where is my lamp?", "context": "Monday."}, "outputs": {"summary": REPLY, "ok": True}}
    assert "an object with task, context; name the prompt in it, e.g. `columns: {prompt: inputs.task}`" in refused(
        tmp_path, run
    )
    columns = {"prompt": "inputs.task", "reference": "outputs.summary"}
    expected = {"context": "Monday.", "ok": True, "reference": REPLY}
    assert read(tmp_path, run, columns=columns) == [(ASKED, expected)]


def test_system_and_earlier_turns_stay_and_a_tool_turn_after_the_question_is_not_read(tmp_path: Path) -> None:
    turns = [
        ("system", "Be kind."),
        ("human", "Hi"),
        ("gpt", "Hello!"),
        ("human", "Lamp?"),
        ("tool", "x"),
        ("gpt", "Ok"),
    ]
    row = {"conversations": [{"from": role, "value": text} for role, text in turns]}
    ((messages, fields),) = read(tmp_path, row)
    assert [turn["role"] for turn in messages] == ["system", "user", "assistant", "user"]
    assert fields == {"reference": "Ok"}
    row["conversations"].append({"from": "human", "value": "Thanks"})
    assert 'conversations[4].role: must be one of system, user, assistant, is "tool"' in refused(tmp_path, row)


def test_only_model_calls_of_an_export_are_read_and_the_rest_is_counted(tmp_path: Path) -> None:
    span = {"id": "s", "traceId": "t1", "type": "SPAN", "input": {"a": 1}, "output": None}
    write_logs(tmp_path / "p.jsonl", [span, json.loads(EXAMPLES["langfuse"])])
    found = read_rows(PromptSource(source="p.jsonl"), tmp_path)
    assert found.rows["id"].to_list() == ["g1"]
    assert found.found == (
        "a Langfuse export, recognised: 1 row, 1 with a reply (column logged_reply), 1 row of no model call skipped"
    )
    assert json.loads(found.rows["fields"][0])["shop"] == "north"


LANGFUSE = {"id": "g", "trace_id": "t", "type": "GENERATION", "metadata": {}}
LANGSMITH = {"id": "r", "run_type": "llm", "trace_id": "t", "status": "success"}
MESSAGE = {"role": "assistant", "content": REPLY}


def langchain(kind: str, text: str, *path: str) -> dict[str, Any]:
    return {"lc": 1, "type": "constructor", "id": list(path), "kwargs": {"content": text, "type": kind}}


@pytest.mark.parametrize(
    ("export", "asked", "replied"),
    [
        (LANGFUSE, json.dumps(ASKED), json.dumps(MESSAGE)),
        (LANGFUSE, json.dumps({"messages": ASKED, "tools": [{"type": "function"}]}), json.dumps(MESSAGE)),
        (
            LANGFUSE,
            json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Where is my lamp?"}]}]),
            json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": REPLY}], "finish_reason": "stop"}]),
        ),
        (
            LANGFUSE,
            {"contents": [{"role": "user", "parts": [{"text": "Where is my lamp?"}]}]},
            {"candidates": [{"content": {"role": "model", "parts": [{"text": REPLY}]}, "finishReason": "STOP"}]},
        ),
        (
            LANGFUSE,
            [{"role": "user", "content": [{"type": "input_text", "text": "Where is my lamp?"}]}],
            [{"type": "reasoning", "summary": []}, {**MESSAGE, "content": [{"type": "output_text", "text": REPLY}]}],
        ),
        (LANGFUSE, ASKED, {**MESSAGE, "content": [{"type": "thinking"}, {"type": "text", "text": REPLY}]}),
        (LANGSMITH, {"messages": ASKED, "model": "m"}, {"choices": [{"message": MESSAGE}], "usage_metadata": {}}),
        (LANGSMITH, {"messages": ASKED}, {"message": MESSAGE, "usage_metadata": {}}),
        (LANGSMITH, {"messages": ASKED}, {"output": ["assistant", REPLY]}),
        (LANGSMITH, {"messages": ASKED}, MESSAGE),
        (
            LANGSMITH,
            {"messages": [[langchain("human", "Where is my lamp?")]]},
            {"generations": [[{"text": "", "message": langchain("ai", REPLY)}]], "llm_output": None},
        ),
        (LANGSMITH, {"prompts": ["Where is my lamp?"]}, {"generations": [[{"text": REPLY}]]}),
    ],
)  # fmt: skip
def test_the_documented_shapes_of_exports_are_read(
    export: dict[str, Any], asked: Any, replied: Any, tmp_path: Path
) -> None:
    names = ("input", "output") if export is LANGFUSE else ("inputs", "outputs")
    ((messages, fields),) = read(tmp_path, {**export, names[0]: asked, names[1]: replied})
    assert (messages, fields["logged_reply"]) == (ASKED, REPLY)


def test_rows_of_an_export_without_a_usable_prompt_are_left_out_and_counted(tmp_path: Path) -> None:
    usable = [{**LANGFUSE, "id": str(i), "input": ASKED, "output": REPLY} for i in range(2)]
    tools = [*ASKED, {"role": "tool", "content": "Monday"}, *ASKED]
    write_logs(tmp_path / "p.jsonl", [*usable, {**LANGFUSE, "input": "", "output": ""}, {**LANGFUSE, "input": tools}])
    found = read_rows(PromptSource(source="p.jsonl"), tmp_path)
    assert found.rows["id"].to_list() == ["0", "1"]
    assert found.found.endswith("2 rows without a usable prompt left out (e.g. line 3: input: is empty)")
    assert "line 1: input: is empty" in refused(tmp_path, {**LANGFUSE, "input": "", "output": ""})


def test_an_export_of_a_warehouse_may_hold_bytes_and_maps(tmp_path: Path) -> None:
    row = {**LANGFUSE, "input": json.dumps(ASKED).encode(), "output": REPLY.encode()}
    pl.DataFrame([{**row, "metadata": [{"key": "shop", "value": "north"}]}]).write_parquet(tmp_path / "p.parquet")
    found = read_source(PromptSource(source="p.parquet"), tmp_path).to_dicts()[0]
    assert json.loads(found["messages"]) == ASKED
    fields = json.loads(found["fields"])
    assert (fields["shop"], fields["logged_reply"]) == ("north", REPLY)


def test_the_only_argument_of_a_traced_function_is_its_prompt(tmp_path: Path) -> None:
    row = {"id": "t", "session_id": None, "input": {"args": ["Where is my lamp?"], "kwargs": {}}, "output": REPLY}
    assert "columns: {prompt: input.args}" in refused(tmp_path, row)
    ((messages, fields),) = read(tmp_path, row, columns={"prompt": "input.args"}, format="langfuse")
    assert (messages, fields["logged_reply"]) == (ASKED, REPLY)


def test_a_preference_pair_may_hold_its_prompt_in_both_replies(tmp_path: Path) -> None:
    pair = {key: [*ASKED, {"role": "assistant", "content": key}] for key in ("chosen", "rejected")}
    assert read(tmp_path, pair) == [(ASKED, {"rejected": "rejected", "reference": "chosen"})]


def test_a_trace_is_read_along_its_last_branch(tmp_path: Path) -> None:
    def node(role: str, text: str, parent: int | None) -> dict[str, Any]:
        return {"parent": parent, "message": {"role": role, "content": text}, "mask": [], "token_ids": []}

    nodes = [
        node("user", "Where is my lamp?", None),
        node("assistant", "A first try.", 0),
        node("assistant", REPLY, 0),
    ]
    trace = {"id": "a", "task": {"data": {"prompt": "x", "answer": "Monday"}}, "nodes": nodes, "rewards": {"r": None}}
    ((messages, fields),) = read(tmp_path, {"id": "e", "task": {}, "traces": [trace]})
    assert messages == ASKED
    assert fields == {"answer": "Monday", "rewards": {"r": None}, "stop_condition": None, "logged_reply": REPLY}


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_logs_are_read_in_every_format_and_a_reply_is_only_a_logged_one(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(EXAMPLES[name], encoding="utf-8")
    logs = read_logs([path], None)
    assert logs.rows[0].messages == ASKED
    assert logs.formats == [LAYOUTS[name].title]  # type: ignore[index]
    column = "reference" if name == "prompts" else "logged_reply"
    assert logs.rows[0].fields[column] == REPLY


def test_a_skipped_row_of_the_logs_still_opts_out(tmp_path: Path) -> None:
    call = json.loads(EXAMPLES["langfuse"])
    rows = [call, {**call, "type": "EVENT", "input": None, "metadata": {"no_training": True}}]
    (row,) = {each.opted_out for each in read_logs([write_logs(tmp_path / "a.jsonl", rows)], "no_training").rows}
    assert row
