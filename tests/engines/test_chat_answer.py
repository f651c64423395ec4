import json
import math
import re
from typing import Any

import pytest

from rft_pipeline.engines.chat_answer import Likely, Position, read_answer, words_logprobs
from rft_pipeline.engines.thoughts import divided


def read(**body: Any) -> Any:
    return read_answer(json.dumps(body).encode())


def choice(content: Any, **more: Any) -> dict[str, Any]:
    return {"message": {"content": content, **more}}


def at(*listed: tuple[str, float]) -> Position:
    likely = [Likely(token=token, logprob=math.log(chance)) for token, chance in listed]
    return Position(token=likely[0].token, logprob=likely[0].logprob, top_logprobs=likely)


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [choice(None)]},
        {"choices": [choice("")], "usage": None},
    ],
)
def test_a_missing_text_is_an_empty_one(body: dict[str, Any]) -> None:
    assert read(**body).text == ""


def test_a_text_in_parts_is_joined() -> None:
    assert read(choices=[choice([{"type": "text", "text": "Yes"}, {"type": "image"}, {"text": "."}])]).text == "Yes."


@pytest.mark.parametrize(
    "body", [b"", b'{"choices": [{"mess', b"<html>", b"[]", b'{"choices": 3}', b'{"error": "ill"}']
)
def test_what_is_no_answer_says_so(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"an answer that cannot be read|an error instead of an answer"):
        read_answer(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "an answer without a message"),
        ({"choices": []}, "an answer without a message"),
        ({"choices": None}, "an answer without a message"),
        ({"choices": [{}]}, "an answer without a message"),
        ({"choices": [choice("Dear") | {"finish_reason": "error", "error": {"message": "gone"}}]}, "answer: gone"),
        ({"choices": [choice("Dear") | {"finish_reason": None, "error": {"code": 502}}]}, "answer: {'code': 502}"),
        ({"choices": [choice("Dear")], "error": {"message": "gone"}}, "an error instead of an answer: gone"),
        ({"choices": [choice("Dear") | {"finish_reason": "error"}]}, "finish reason 'error'"),
        ({"choices": [choice("Dear") | {"finish_reason": "abort"}]}, "finish reason 'abort'"),
        ({"choices": [choice("") | {"finish_reason": "insufficient_system_resource"}]}, "insufficient_system_resource"),
        ({"choices": [choice("Dear") | {"finish_reason": "something_new"}]}, "finish reason 'something_new'"),
    ],
)
def test_an_answer_that_broke_off_is_none(body: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        read(**body)


@pytest.mark.parametrize("reason", [None, "", "stop", "STOP", "eos_token", "end_turn", "tool_calls"])
def test_an_answer_that_ended_by_itself_is_whole(reason: str | None) -> None:
    found = read(choices=[choice("Yes") | {"finish_reason": reason, "error": None}])
    assert (found.text, found.cut, found.blocked) == ("Yes", False, "")


@pytest.mark.parametrize("reason", ["length", "MAX_TOKENS", "model_length"])
def test_an_answer_whose_budget_ran_out_is_cut(reason: str) -> None:
    assert read(choices=[choice("Yes") | {"finish_reason": reason}]).cut


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "content_filter: RECITATION", "refusal"])
def test_an_answer_that_a_filter_stopped_says_so(reason: str) -> None:
    assert reason in read(choices=[choice("Yes, de") | {"finish_reason": reason}]).blocked


def test_a_refusal_is_told_in_the_models_words() -> None:
    assert read(choices=[choice(None, refusal="I cannot.")]).blocked == "the model refused to answer: I cannot."


def test_usage_is_read_and_its_absence_told() -> None:
    told = read(choices=[choice("Yes")], usage={"prompt_tokens": 7, "completion_tokens": 2, "extra": {}})
    assert (told.reports_usage, told.prompt_tokens, told.tokens) == (True, 7, 2)
    assert read(choices=[choice("Yes")]).reports_usage is False


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("<think>yes or no?</think>\n\nNo", "No"),
        ("the prompt opened it</think>No", "No"),
        ("<think>cut off", ""),
        ("No, <think> is a tag", "No, <think> is a tag"),
        ("No", "No"),
    ],
)
def test_reasoning_is_no_part_of_the_answer(said: str, text: str) -> None:
    assert divided(said)[1] == text


def test_logprobs_behind_a_reasoning_are_not_the_answers() -> None:
    listed = {"content": [{"token": "Hm", "logprob": -0.1, "top_logprobs": []}]}
    assert read(choices=[choice("No") | {"logprobs": listed}]).positions[0].token == "Hm"
    assert read(choices=[choice("No", reasoning_content="Hm") | {"logprobs": listed}]).positions == ()
    assert read(choices=[choice("<think>Hm</think>No") | {"logprobs": listed}]).positions == ()


def test_logprobs_of_another_shape_are_none() -> None:
    assert read(choices=[choice("No") | {"logprobs": {"tokens": ["No"]}}]).positions == ()
    assert (
        read(choices=[choice("No") | {"logprobs": {"content": [{"token": "No", "logprob": "high"}]}}]).positions == ()
    )


def test_a_words_spellings_are_summed() -> None:
    found = words_logprobs([at((" Yes", 0.5), ("yes", 0.25), ("No.", 0.125), ("Perhaps", 0.0625))], ("Yes", "No"))
    assert found == pytest.approx({"Yes": math.log(0.75), "No": math.log(0.125)})


def test_a_word_that_is_not_listed_gets_what_it_can_have_at_most() -> None:
    found = words_logprobs([at(("Yes", 0.5), ("Sure", 0.25))], ("Yes", "No"))
    assert found == pytest.approx({"Yes": math.log(0.5), "No": math.log(0.25)})
    alone = words_logprobs([at(("Yes", 0.99))], ("Yes", "No"))
    assert alone == pytest.approx({"Yes": math.log(0.99), "No": math.log(0.01)})


def test_no_word_listed_tells_nothing() -> None:
    assert words_logprobs([at(("Sure", 0.9), ("Well", 0.05))], ("Yes", "No")) is None
    assert words_logprobs([], ("Yes", "No")) is None


def test_the_answer_begins_at_the_first_token_that_is_not_white_space() -> None:
    found = words_logprobs([at(("\n", 0.9), ("Yes", 0.1)), at(("No", 0.5), ("Yes", 0.5))], ("Yes", "No"))
    assert found == pytest.approx({"Yes": math.log(0.5), "No": math.log(0.5)})
