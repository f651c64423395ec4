"""Which prompts a cycle gets."""

from typing import Any

import polars as pl
import pytest

from rft_pipeline.campaign import Retrain
from rft_pipeline.fingerprint import canonical_json
from rft_pipeline.prompts import drawing
from rft_pipeline.prompts.drawing import Drawn, draw
from rft_pipeline.prompts.logs import Logged
from rft_pipeline.prompts.overlap import Known
from rft_pipeline.prompts.redaction import Redactor
from tests.prompts.small import logged, said

HELD_OUT = "Where is the parcel that I ordered last week?"


def drawn(
    rows: list[Logged], seen: list[Logged] | None = None, cycle: int = 1, held_out: str = HELD_OUT, **settings: Any
) -> Drawn:
    retrain = Retrain.model_validate({"cron": "0 3 * * 1", "logs": "logs", **settings})
    messages = canonical_json([{"role": "user", "content": held_out}])
    asked = pl.DataFrame({"id": ["eval-1"], "messages": [messages]})
    known = {row.prompt_id for row in seen or []}
    return draw(rows, known, asked, retrain, Redactor.of(retrain), seed=7, cycle=cycle)


def some(name: str, count: int) -> list[Logged]:
    return [logged(f"{name} question number {i}") for i in range(count)]


def test_a_full_cycle_keeps_its_share_of_old_prompts() -> None:
    old, new = some("old", 50), some("new", 50)
    found = drawn(old + new, seen=old, prompts=20, old_share=0.25)
    assert (found.new, found.old, len(found.rows)) == (15, 5, 20)
    assert len(found.unseen) == 50


def test_few_new_prompts_bring_few_old_ones() -> None:
    old, new = some("old", 50), some("new", 6)
    found = drawn(old + new, seen=old, prompts=20, old_share=0.25)
    assert (found.new, found.old) == (6, 2)


def test_old_prompts_never_take_every_place() -> None:
    old, new = some("old", 50), some("new", 6)
    found = drawn(old + new, seen=old, prompts=2, old_share=0.9)
    assert (found.new, found.old) == (1, 1)


def test_where_nothing_is_old_all_may_be_new() -> None:
    found = drawn(some("new", 50), prompts=20)
    assert (found.new, found.old) == (20, 0)


def test_nothing_new_draws_nothing() -> None:
    old = some("old", 50)
    found = drawn(old, seen=old)
    assert (found.new, found.old, found.rows) == (0, 0, [])


def test_the_draw_follows_from_prompts_seed_and_cycle_alone() -> None:
    rows = some("new", 50)
    once, turned, next_cycle = (
        [said(row) for row in found.rows]
        for found in (drawn(rows, prompts=9), drawn(rows[::-1], prompts=9), drawn(rows, prompts=9, cycle=2))
    )
    assert once == turned
    assert once != next_cycle


def test_a_prompt_that_stands_there_twice_is_drawn_once() -> None:
    assert drawn([*some("new", 3), *some("new", 3)]).new == 3


def test_who_opted_out_is_left_out_and_counted_also_among_old_rows() -> None:
    refusing = [logged("please do not", opted_out=True), logged("nor this one", opted_out=True)]
    old, new = some("old", 9), some("new", 9)
    found = drawn([*refusing, *old, *new], seen=[refusing[1], *old])
    assert found.opted_out == 2
    assert not {"please do not", "nor this one"} & {said(row) for row in found.rows}
    assert refusing[0].prompt_id not in found.unseen


def test_prompts_like_held_out_ones_are_left_out_and_others_take_their_place() -> None:
    near = [logged(HELD_OUT), logged("where is the parcel that I ordered last week"), logged(HELD_OUT + " Please!")]
    found = drawn([*near, *some("new", 5)], prompts=8)
    assert (found.new, found.like_held_out) == (5, 3)
    assert len(drawn([*near, *some("new", 50)], prompts=50).rows) == 50


def test_a_held_out_prompt_is_known_by_the_personal_data_that_is_redacted_here() -> None:
    asked = "Call 212-736-5000 now"
    assert drawn([logged(asked)], held_out=asked).like_held_out == 1
    assert drawn([logged(asked)]).like_held_out == 0


def test_every_turn_the_id_and_the_further_fields_are_redacted() -> None:
    turns = [{"role": role, "content": f"{role} of ann@b.example"} for role in ("system", "user", "assistant", "user")]
    row = Logged(
        "x", "ann@b.example/7", turns, {"reference": "Dear ann@b.example", "meta": {"phones": [2127365000.0]}}, False
    )
    (found,) = drawn([row]).rows
    assert found == {
        "id": "<email>/7",
        "reference": "Dear <email>",
        "meta": {"phones": ["<phone>"]},
        "prompt": [{**turn, "content": f"{turn['role']} of <email>"} for turn in turns],
    }


def test_what_is_drawn_is_redacted_and_counted() -> None:
    found = drawn([logged("I am ann@b.example", customer="bob@b.example"), logged("I am 4111111111111111")])
    assert sorted(said(row) for row in found.rows) == ["I am <card>", "I am <email>"]
    assert [row["customer"] for row in found.rows if "customer" in row] == ["<email>"]
    assert {kind: count for kind, count in found.redacted.items() if count} == {"email": 2, "card": 1}


def test_held_out_prompts_are_made_ready_once_for_ten_thousand_of_one_template(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    monkeypatch.setattr(drawing, "Known", lambda held_out: made.append(held_out) or Known(held_out))
    found = drawn([logged(f"Write to ann{i}@b.example") for i in range(10_000)], prompts=2)
    assert (found.new, len(made)) == (1, 1)


def test_a_chunk_that_holds_more_than_are_missing_fills_the_places_only() -> None:
    assert len(drawn(some("new", 300), prompts=5).rows) == 5
    assert drawn(some("new", 300), prompts=5).redacted == {"email": 0, "card": 0, "phone": 0}


def test_prompts_that_differ_in_personal_data_only_are_one() -> None:
    found = drawn([logged("I am ann@b.example"), logged("I am bob@b.example")])
    assert (found.new, len(found.unseen)) == (1, 2)
