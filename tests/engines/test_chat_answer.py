import json
import math
from typing import Any

import pytest

from rft_pipeline.engines.chat_answer import Likely, Position, read_answer, without_reasoning, words_logprobs


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
        {},
        {"choices": []},
        {"choices": None},
        {"choices": [{}]},
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
    with pytest.raises(ValueError, match=r"not an answer that can be read|an error instead of an answer"):
        read_answer(body)


def test_usage_is_read_and_its_absence_told() -> None:
    told = read(choices=[choice("Yes")], usage={"prompt_tokens": 7, "completion_tokens": 2, "extra": {}})
    assert (told.tells_usage, told.prompt_tokens, told.tokens) == (True, 7, 2)
    assert read(choices=[choice("Yes")]).tells_usage is False


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
    assert without_reasoning(said) == text


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
