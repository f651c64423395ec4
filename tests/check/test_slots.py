"""Slots that no column fills, and rows that lack a column."""

from pathlib import Path
from typing import Any

from rft_pipeline.errors import DataError
from tests.check.small import ANCHORS, CLOZE, EVAL, POLITE, TRAIN, campaign, errors, warnings

CONTEXT = {"context": "It ships in 3 days.", "policy": "Be brief."}
TRAIN_WITH, EVAL_WITH, ANCHORS_WITH = ([{**row, **CONTEXT} for row in rows] for rows in (TRAIN, EVAL, ANCHORS))


def with_columns(tmp_path: Path, criteria: list[dict[str, Any]], **changes: Any) -> Path:
    given = {"train": TRAIN_WITH, "held_out": EVAL_WITH, "anchors": ANCHORS_WITH, **changes}
    folder = campaign(tmp_path, criteria, **given)
    (folder / "mine.txt").write_text("{contxt}\n{prompt}\n{reply}\n{question} {answer}", encoding="utf-8")
    return folder


def binary(**settings: Any) -> dict[str, Any]:
    return {"name": "polite", "judge": {"protocol": "binary", "question": "Does it follow {policy}?", **settings}}


def test_columns_that_the_prompts_have_pass(tmp_path: Path) -> None:
    system = {"policy": {"system": "Answer from this: {context}"}}
    assert warnings(with_columns(tmp_path, [binary()], settings=system)) == []


def test_all_slots_that_no_column_fills_are_named_with_those_that_there_are(tmp_path: Path) -> None:
    persona = {"name": "kind", "judge": {**POLITE, "positive": "You follow {polcy}."}}
    panel = {
        "name": "both",
        "judge": {"protocol": "panel", "members": [CLOZE, {**CLOZE, "templates": ["{x}: {reply} is"]}]},
    }
    held_out = {"alarms": {"held_out": [{"name": "far", "judge": {"protocol": "relevance", "system": "{far}"}}]}}
    found = errors(with_columns(tmp_path, [binary(template="mine.txt"), persona, panel], settings=held_out))
    columns = "columns of the prompts: {context}, {policy}, {urgent}"
    own = "slots of binary: {answer}, {prompt}, {question}, {reference}, {reply}"
    assert found == [
        f"rubric.yaml: polite: template: unknown slot {{contxt}} (did you mean {{context}}?); {own}; {columns}; "
        "for the text {contxt} itself, write {{contxt}}",
        f"rubric.yaml: kind: positive: unknown slot {{polcy}} (did you mean {{policy}}?); {columns}; "
        "for the text {polcy} itself, write {{polcy}}",
        f"rubric.yaml: both.2: templates: unknown slot {{x}}; slots of cloze: {{prompt}}, {{reply}}; {columns}; "
        "for the text {x} itself, write {{x}}",
        f"campaign.yaml: alarms.held_out: far: system: unknown slot {{far}}; {columns}; for the text {{far}} itself, "
        "write {{far}}",
    ]


def test_rows_that_lack_a_shown_column_are_named(tmp_path: Path) -> None:
    train = [*TRAIN_WITH[:3], {**TRAIN_WITH[3], "policy": None}, *TRAIN[4:]]
    folder = with_columns(tmp_path, [binary()], train=train)
    why = "no value in the column 'policy', which criterion polite shows; fill it in or remove the row"
    assert errors(folder) == [f"train.jsonl: t3, t4, t5, t6, t7: {why}"]


def test_anchors_that_lack_it_are_a_warning(tmp_path: Path) -> None:
    anchors = [*ANCHORS_WITH, {**ANCHORS[0], "id": "bare"}]
    [warning] = warnings(with_columns(tmp_path, [binary()], anchors=anchors))
    assert warning.startswith("anchors.jsonl: bare: no value in the column 'policy', which criterion polite shows; ")


def test_the_slots_of_the_system_message_are_checked_in_both_files(tmp_path: Path) -> None:
    system = {"policy": {"system": "Follow {policy} and {polcy}."}}
    folder = with_columns(tmp_path, [binary(template="mine.txt")], settings=system)
    found = errors(folder)
    assert found[0].startswith("rubric.yaml: polite: template: unknown slot {contxt}")
    rest = (
        "policy.system: unknown slot {polcy} (did you mean {policy}?); columns of the prompts: {context}, {policy}, "
        "{urgent}; for the text {polcy} itself, write {{polcy}}"
    )
    assert found[1:] == [f"train.jsonl: {rest}", f"eval.jsonl: {rest}"]


def test_a_row_with_a_system_turn_of_its_own_needs_no_column_of_the_campaigns(tmp_path: Path) -> None:
    own = {"id": "own", "prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "And now?"}]}
    system = {"policy": {"system": "Follow {policy}."}}
    criteria = [{"name": "polite", "judge": POLITE}]
    assert warnings(with_columns(tmp_path, criteria, train=[*TRAIN_WITH, own], settings=system)) == []
    (tmp_path / "bare").mkdir()
    folder = with_columns(
        tmp_path / "bare",
        criteria,
        train=[*TRAIN_WITH, own, TRAIN[0] | {"id": "t9", "prompt": "What?"}],
        settings=system,
    )
    [error] = errors(folder, DataError)
    assert error.startswith("train.jsonl: t9: no value in the column 'policy', which policy.system shows; ")
