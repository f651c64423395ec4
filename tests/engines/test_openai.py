import json
import logging
import math
import re
import socket
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from rft_pipeline.campaign import Sampling, Server
from rft_pipeline.engines import ChatReply, ChatRequest, Completion, GenerateRequest
from rft_pipeline.engines.openai import OpenAIEngine
from rft_pipeline.errors import ConfigError, EngineError
from tests.engines.serving import Serving, by_id, question, questions

KEY = "sk-very-secret-0123456789"
SCHEMA = {"type": "object", "properties": {"verdict": {"type": "string"}}}
PRICES = {"input_million": 1000.0, "output_million": 10000.0}
"""100 tokens read cost 0.1 and 10 written cost 0.1: 0.2 a call."""


def answered_until_it_raised(engine: OpenAIEngine, asked: list[ChatRequest]) -> tuple[list[ChatReply], str]:
    replies: list[ChatReply] = []
    with pytest.raises(EngineError) as error:
        replies.extend(engine.ask(asked))
    return replies, str(error.value)


def test_every_question_is_answered_once_with_what_it_took(server: Serving) -> None:
    engine = server.engine(prices=PRICES)
    replies = by_id(list(engine.ask(questions(40))))
    assert set(replies) == {f"q{number}" for number in range(40)}
    assert replies["q3"] == ChatReply("q3", "No", prompt_tokens=100, tokens=10, cost=pytest.approx(0.2))
    assert replies["q4"].text == "Yes"
    assert engine.spent == pytest.approx(40 * 0.2)
    body = server.seen()["bodies"][0]
    assert set(body) == {"model", "messages", "seed", "temperature", "max_tokens"}
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("judge", 0, 4)


def test_the_order_of_the_questions_changes_nothing(server: Serving) -> None:
    server.plan(share=0.3, kinds=("500", "wrong_ids", "empty"))
    asked = questions(30)
    forwards = by_id(list(server.engine(attempts=1).ask(asked)))
    server.plan(share=0.3, kinds=("500", "wrong_ids", "empty"))
    assert by_id(list(server.engine(attempts=1).ask(asked[::-1]))) == forwards
    assert {reply.error for reply in forwards.values()} == {"", "HTTP 500: the server is ill"}


def test_no_more_calls_are_under_way_than_allowed(server: Serving) -> None:
    server.plan(delay=0.02)
    list(server.engine(concurrency=5).ask(questions(60)))
    assert server.seen()["most"] == 5


@pytest.mark.parametrize("kind", ["500", "429", "reset", "half", "hang"])
def test_a_call_that_fails_once_is_made_again(server: Serving, kind: str) -> None:
    server.plan(share=1, kinds=(kind,), lasting=0)
    replies = list(server.engine(timeout_seconds=1).ask(questions(4)))
    assert [reply.error for reply in replies] == [""] * 4
    assert [len(tries) for tries in server.seen()["tries"].values()] == [2] * 4


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("500", "HTTP 500: the server is ill"),
        ("429", "HTTP 429: too many requests"),
        ("reset", "RemoteProtocolError: "),
        ("half", "RemoteProtocolError: an answer that cannot be read: "),
        ("hang", "no answer within 0.5 s, 2 tries"),
    ],
)
def test_a_call_that_fails_at_every_try_says_why_and_costs_no_other(server: Serving, kind: str, why: str) -> None:
    server.plan(share=0.5, kinds=(kind,), lasting=1, seed=1)
    replies = list(server.engine(attempts=2, timeout_seconds=0.5).ask(questions(8)))
    failed = [reply for reply in replies if reply.error]
    assert 0 < len(failed) < len(replies) == 8
    assert all(why in reply.error for reply in failed), failed
    assert all(len(server.seen()["tries"][reply.request_id[1:]]) == 2 for reply in failed)


def test_what_the_server_says_about_waiting_is_kept(server: Serving) -> None:
    server.plan(share=1, kinds=("429",), lasting=0, retry_after="2")
    list(server.engine().ask([question(1)]))
    first, second = server.seen()["tries"]["1"]
    assert second - first >= 2.0


@pytest.mark.parametrize("kind", ["wrong_ids", "two_verdicts", "smuggled"])
def test_odd_answers_reach_their_own_question(server: Serving, kind: str) -> None:
    server.plan(share=1, kinds=(kind,))
    asked = [question(n, "number {}: answer with one JSON object", json_schema=SCHEMA) for n in range(6)]
    for name, reply in by_id(list(server.engine().ask(asked))).items():
        assert json.loads(reply.text[reply.text.rindex("{") :])["verdict"] == (
            "no" if int(name[1:]) % 3 == 0 else "yes"
        )


def test_an_empty_answer_is_an_answer(server: Serving) -> None:
    server.plan(share=1, kinds=("empty",))
    assert [(reply.text, reply.error) for reply in server.engine().ask([question(1)])] == [("", "")]


def test_words_are_read_from_the_logprobs(server: Serving) -> None:
    reply = next(server.engine().ask([question(1, words=("Yes", "No"))]))
    assert reply.words == pytest.approx({"Yes": math.log(math.exp(-0.5) + math.exp(-1.5)), "No": -3.0})
    body = server.seen()["bodies"][0]
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20)


@pytest.mark.parametrize("settings", [{"logprobs": False}, {"refuses": ("logprobs",)}])
def test_a_server_without_logprobs_is_asked_without_them_from_then_on(server: Serving, settings: Any) -> None:
    server.plan(**settings)
    replies = list(server.engine(concurrency=1).ask(questions(4, words=("Yes", "No"))))
    assert [(reply.text, reply.words) for reply in replies] == [
        ("No", None),
        ("Yes", None),
        ("Yes", None),
        ("No", None),
    ]
    assert ["logprobs" in body for body in server.seen()["bodies"]] == (
        [True, False, False, False] if "logprobs" in settings else [True, False, False, False, False]
    )


def test_what_a_server_refuses_is_left_out_from_then_on(server: Serving) -> None:
    server.plan(refuses=("response_format", "temperature", "seed", "max_tokens"))
    asked = [question(n, "number {}: answer with one JSON object", json_schema=SCHEMA) for n in range(3)]
    assert [reply.error for reply in server.engine(concurrency=1).ask(asked)] == ["", "", ""]
    bodies = server.seen()["bodies"]
    assert len(bodies) == 4 + 3
    assert set(bodies[-1]) == {"model", "messages", "max_completion_tokens"}


def test_a_question_that_is_refused_itself_changes_nothing_for_the_others(server: Serving) -> None:
    server.plan(refuses=("messages",))
    engine = server.engine(concurrency=1)
    assert [reply.error for reply in engine.ask([question(1, json_schema=SCHEMA)])] == [
        "HTTP 400: Unsupported parameter: 'messages'"
    ]
    assert engine.without == set()


def test_max_calls_stops_cleanly_and_says_how_to_go_on(server: Serving) -> None:
    replies, message = answered_until_it_raised(server.engine(max_calls=10), questions(30))
    assert len(replies) == 10
    assert message == (
        "judges.strong: 10 calls made, the most that judges.strong.server.max_calls allows a stage; raise it. "
        "10 of 30 were answered and are kept; run again for the rest."
    )
    assert len(server.seen()["tries"]) == 10


def test_max_calls_counts_over_all_that_is_asked(server: Serving) -> None:
    engine = server.engine(max_calls=10)
    assert len(list(engine.ask(questions(6)))) == 6
    assert len(answered_until_it_raised(engine, questions(6))[0]) == 4


def test_exactly_as_many_calls_as_allowed_are_no_error(server: Serving) -> None:
    assert len(list(server.engine(max_calls=10).ask(questions(10)))) == 10


def test_max_cost_is_passed_by_the_calls_under_way_at_most(server: Serving) -> None:
    server.plan(delay=0.02)
    engine = server.engine(max_cost=2.0, prices=PRICES, concurrency=4)
    replies, message = answered_until_it_raised(engine, questions(60))
    assert 10 <= len(replies) <= 10 + 4
    assert engine.spent == pytest.approx(0.2 * len(replies))
    assert "judges.strong.server.max_cost allows a stage 2;" in message


def test_max_cost_needs_a_server_that_tells_what_a_call_takes(server: Serving) -> None:
    server.plan(usage=False)
    engine = server.engine(max_cost=2.0, prices=PRICES, concurrency=1)
    replies, message = answered_until_it_raised(engine, questions(5))
    assert len(replies) == 1
    assert "does not report its usage" in message


def test_a_key_comes_from_its_variable_and_shows_nowhere(
    server: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STRONG_KEY", f" {KEY}\n")
    caplog.set_level(logging.DEBUG)
    server.plan(key=KEY)
    assert next(server.engine(api_key_env="STRONG_KEY").ask([question(1)])).text == "Yes"
    server.plan(key="another")
    replies, message = answered_until_it_raised(server.engine(api_key_env="STRONG_KEY"), questions(50))
    assert len(replies) <= 16
    assert "answers HTTP 401: the key in STRONG_KEY is refused" in message
    told = [message, *(reply.error for reply in replies), caplog.text]
    assert not any(KEY in text for text in told)


def test_a_key_that_is_not_set_is_named(server: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRONG_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"judges\.strong\.server\.api_key_env: .* STRONG_KEY is not set"):
        server.engine(api_key_env="STRONG_KEY")
    monkeypatch.setenv("STRONG_KEY", "gehe\u00efm")
    with pytest.raises(ConfigError, match="STRONG_KEY contains characters that no key can have") as error:
        server.engine(api_key_env="STRONG_KEY")
    assert "gehe" not in str(error.value)


def test_an_unknown_model_stops_at_once(server: Serving) -> None:
    replies, message = answered_until_it_raised(server.engine("served:absent"), questions(100))
    assert len(replies) <= 16
    assert "HTTP 404: The model `absent` does not exist. Check server.url and the model's name, 'absent'" in message


def test_a_server_that_is_not_there_stops_after_the_tries() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    engine = OpenAIEngine("served:judge", Server(url=url, attempts=2, concurrency=4), "judge")
    replies, message = answered_until_it_raised(engine, questions(100))
    assert len(replies) <= 8
    assert f"judge: nothing answers at {url}" in message


def test_a_server_that_dies_is_given_up(server: Serving) -> None:
    server.plan(share=1, kinds=("500",), lasting=1)
    replies, message = answered_until_it_raised(server.engine(attempts=1), questions(200))
    assert 64 <= len(replies) < 64 + 16
    assert re.search(r"failed \d+ times in a row \(HTTP 500: the server is ill\)", message)


def test_stopping_early_leaves_no_thread_and_no_call(server: Serving) -> None:
    server.plan(delay=0.05)
    before = set(threading.enumerate())
    replies = server.engine().ask(questions(500))
    next(replies)
    replies.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) == before
    time.sleep(0.2)
    assert server.seen()["under_way"] == 0
    assert len(server.seen()["tries"]) < 100


def draws(count: int) -> list[GenerateRequest]:
    return [GenerateRequest(f"q{n}", (("user", f"number {n}"),), seed=2**40 + n) for n in range(count)]


def test_completions_are_drawn_by_seed(server: Serving) -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=5, max_new_tokens=12)
    done = [each for batch in server.engine().generate(draws(70), sampling) for each in batch]
    assert {each.request_id for each in done} == {f"q{n}" for n in range(70)}
    third = next(each for each in done if each.request_id == "q3")
    assert third == Completion("q3", [], [], [-0.5], "drawn from 3 with seed 3", "stop")
    body = server.seen()["bodies"][-1]
    assert (body["temperature"], body["top_p"], body["top_k"], body["max_tokens"]) == (0.7, 0.9, 5, 12)


def test_thoughts_of_a_served_policy_are_told_apart_from_its_answers(server: Serving) -> None:
    server.plan(reasoning=20)
    sampling = Sampling(max_new_tokens=12, max_thinking_tokens=30)
    found = {}
    for thinking in ("auto", "keep", "off"):
        (asked,) = (replace(each, thinking=thinking) for each in draws(1))
        ((found[thinking],),) = server.engine().generate([asked], sampling)
        body = server.seen()["bodies"][-1]
        assert body["max_tokens"] == 42
        assert body.get("chat_template_kwargs", {}).get("enable_thinking") == {"keep": True, "off": False}.get(thinking)
    answer = found["auto"].text
    assert (found["auto"].thought, answer[:10]) == ("Let me see.", "drawn from")
    assert found["keep"].text == f"<think>\nLet me see.\n</think>\n\n{answer}"
    server.plan(reasoning=42)
    ((cut,),) = server.engine().generate(draws(1), sampling)
    assert (cut.text, cut.thought, cut.finish_reason) == ("", "Let me see.", "length")


def test_completions_that_failed_are_missing_and_raise_at_the_end(server: Serving) -> None:
    server.plan(share=0.5, kinds=("500",), lasting=1, seed=2)
    done: list[list[Completion]] = []
    with pytest.raises(EngineError, match=r"judges\.strong: \d+ of 20 completions failed \(HTTP 500"):
        done.extend(server.engine(attempts=1).generate(draws(20), Sampling()))
    assert 0 < sum(map(len, done)) < 20
