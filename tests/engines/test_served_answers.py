"""What servers send instead of an answer, what they refuse of a request, and models that reason before they answer."""

import logging
from typing import Any

import pytest

from rft_pipeline.campaign import Sampling
from rft_pipeline.engines import ChatRequest, Completion, GenerateRequest
from rft_pipeline.errors import EngineError
from rft_pipeline.judges import BinaryJudge, Status, make_judge
from rft_pipeline.rules import Rollout
from tests.engines.serving import Serving, by_id, question, questions
from tests.judges.engines import OneEngine, judgements

SCHEMA = {"type": "object", "properties": {"verdict": {"type": "string"}}}
BROKEN = ("error_200", "choice_error", "no_choice", "abort")
WORDS = ("Yes", "No")


def draws(count: int) -> list[GenerateRequest]:
    return [GenerateRequest(f"q{n}", (("user", f"number {n}"),), seed=n) for n in range(count)]


def json_question(number: int) -> ChatRequest:
    return question(number, "number {}: answer with one JSON object", json_schema=SCHEMA, max_tokens=256)


@pytest.mark.parametrize("kind", BROKEN)
def test_an_answer_that_broke_off_is_asked_for_again(server: Serving, kind: str) -> None:
    server.plan(share=1, kinds=(kind,), lasting=0)
    replies = list(server.engine().ask(questions(3)))
    assert {(reply.error, reply.text) for reply in replies} == {("", "Yes"), ("", "No")}
    server.plan(share=1, kinds=(kind,), lasting=0)
    done = [each for batch in server.engine().generate(draws(3), Sampling()) for each in batch]
    assert sorted(each.text for each in done) == [f"drawn from {n} with seed {n}" for n in range(3)]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("error_200", "an error instead of an answer: the provider is ill"),
        ("choice_error", "an error instead of an answer: the provider is gone"),
        ("no_choice", "an answer without a message"),
        ("abort", "an answer that ended with finish reason 'abort'"),
    ],
)
def test_an_answer_that_always_breaks_off_fails_and_is_not_kept(server: Serving, kind: str, why: str) -> None:
    server.plan(share=1, kinds=(kind,), lasting=1)
    (reply,) = server.engine(attempts=2).ask([question(1)])
    assert (reply.text, why in reply.error) == ("", True)
    done: list[list[Completion]] = []
    with pytest.raises(EngineError, match=f"1 of 1 completions failed .*{why}"):
        done.extend(server.engine(attempts=2).generate(draws(1), Sampling()))
    assert done == []


def test_an_answer_that_a_filter_stopped_is_unscored_for_a_judge_and_no_rollout(server: Serving) -> None:
    server.plan(share=1, kinds=("filtered",))
    judge = make_judge(BinaryJudge(protocol="binary", question="Is it kind?"), OneEngine(server.engine()))
    (found,) = judgements(judge, [Rollout("number 1", "Gladly.")])
    assert (found.status, found.tokens) == (Status.UNSCORED, 100)
    assert found.reason == "the server's filter stopped the answer (finish reason 'content_filter')"
    with pytest.raises(EngineError, match="1 of 1 completions failed"):
        list(server.engine().generate(draws(1), Sampling()))
    assert len(server.seen()["tries"]["0"]) == 1


def test_a_question_that_a_filter_stopped_is_never_answered(server: Serving) -> None:
    server.plan(refuses=("messages",), refusal="The prompt is filtered.", refusal_code="content_filter")
    (reply,) = server.engine().ask([question(1)])
    assert (reply.error, reply.unanswerable) == ("", "HTTP 400: The prompt is filtered")


@pytest.mark.parametrize(
    ("refusal", "body", "left_out"),
    [
        ("Logprobs is not enabled for models/judge", "word", "logprobs"),
        ('Invalid JSON payload received. Unknown name "logprobs": Cannot find field.', "word", "logprobs"),
        ("This model does not support log probabilities.", "word", "logprobs"),
        ("This is not available on your plan.", "word", "logprobs"),
        ("This model does not support response format `json_schema`", "json", "response_format"),
        ("Structured outputs are not supported", "json", "response_format"),
        ("Json mode is not supported for this model", "json", "response_format"),
        ("Bad Request", "json", "response_format"),
        ("property 'seed' is unsupported", "word", "seed"),
        ("Unsupported value: 'temperature' does not support 0 with this model.", "word", "temperature"),
    ],
)
def test_a_feature_is_left_out_whatever_the_words_it_is_refused_in(
    server: Serving, caplog: pytest.LogCaptureFixture, refusal: str, body: str, left_out: str
) -> None:
    server.plan(refuses=(left_out,), refusal=refusal)
    asked = [question(n, words=WORDS) if body == "word" else json_question(n) for n in range(3)]
    engine = server.engine(concurrency=1)
    with caplog.at_level(logging.WARNING):
        replies = by_id(list(engine.ask(asked)))
    assert [reply.error for reply in replies.values()] == [""] * 3
    assert engine.without == {left_out}
    assert "seed" in server.seen()["bodies"][-1] or left_out == "seed"
    assert len(server.seen()["bodies"]) == 1 + 3
    assert [record.getMessage() for record in caplog.records] == [
        f"judges.strong: {server.url} refuses {left_out} (HTTP 400: {refusal.rstrip('.')}): left out from now on"
    ]


def test_fewer_log_probs_are_asked_for_where_a_server_gives_fewer(server: Serving) -> None:
    server.plan(most_logprobs=5)
    replies = list(server.engine(concurrency=1).ask(questions(2, words=WORDS)))
    assert all(reply.words for reply in replies)
    assert [body["top_logprobs"] for body in server.seen()["bodies"]] == [20, 5, 5]


def test_an_error_about_something_else_stays_one_in_its_own_words(server: Serving) -> None:
    server.plan(refuses=("messages",), refusal="messages: this model's context length is 10 tokens")
    engine = server.engine(concurrency=1)
    replies = list(engine.ask(questions(2, words=WORDS)))
    assert len(server.seen()["bodies"]) == 4 + 1
    assert {reply.error for reply in replies} == {"HTTP 400: messages: this model's context length is 10 tokens"}
    assert engine.without == set()


def test_what_was_to_be_drawn_from_is_never_left_out(server: Serving) -> None:
    server.plan(refuses=("top_k",), refusal="Unrecognized request argument supplied: top_k")
    with pytest.raises(EngineError, match="Unrecognized request argument supplied: top_k"):
        list(server.engine().generate(draws(1), Sampling(top_k=5)))


def test_an_empty_answer_to_a_schema_is_asked_for_once_more_as_plain_text(server: Serving) -> None:
    server.plan(empty_schema=True)
    engine = server.engine(prices={"output_million": 10000.0})
    (reply,) = engine.ask([json_question(1)])
    assert reply.text == '{"reason": "so it is", "verdict": "yes"}'
    assert ["response_format" in body for body in server.seen()["bodies"]] == [True, False]
    assert (reply.prompt_tokens, reply.tokens, engine.calls) == (200, 20, 2)
    assert reply.cost == pytest.approx(engine.spent) == pytest.approx(0.2)


def test_an_answer_that_is_empty_as_plain_text_too_stays_empty(server: Serving) -> None:
    server.plan(share=1, kinds=("empty",))
    (reply,) = server.engine().ask([json_question(1)])
    assert (reply.text, reply.error, reply.cut_at) == ("", "", 0)
    assert len(server.seen()["bodies"]) == 2


@pytest.mark.parametrize("refuses", [(), ("max_tokens", "logprobs", "temperature")])
def test_a_word_of_a_model_that_reasons_first_is_had(server: Serving, refuses: tuple[str, ...]) -> None:
    server.plan(reasoning=500, refuses=refuses)
    engine = server.engine(concurrency=1)
    replies = by_id(list(engine.ask(questions(4, words=WORDS, max_tokens=256))))
    assert [replies[f"q{n}"].text for n in range(4)] == ["No", "Yes", "Yes", "No"]
    budget = "max_completion_tokens" if refuses else "max_tokens"
    budgets = [body.get("max_tokens", body.get("max_completion_tokens")) for body in server.seen()["bodies"]]
    assert budgets == [*[4] * (1 + len(refuses)), *[256 + 2048] * 4]
    assert budget in server.seen()["bodies"][-1]


def test_a_model_known_to_reason_is_given_the_tokens_at_once(server: Serving) -> None:
    assert server.engine("served:openai/gpt-oss-20b").question(question(1, words=WORDS))["max_tokens"] == 4 + 2048
    assert server.engine("served:judge").question(question(1, words=WORDS))["max_tokens"] == 4


def test_the_judges_own_budget_and_effort_are_kept_to(server: Serving) -> None:
    server.plan(reasoning=500)
    how: dict[str, Any] = {"how": {"max_tokens": 300, "reasoning_effort": "low"}}
    judge = make_judge(BinaryJudge(protocol="binary", question="Is it kind?"), OneEngine(server.engine(**how)))
    (found,) = judgements(judge, [Rollout("number 1", "Gladly.")])
    assert (found.status, found.score) == (Status.UNSCORED, None)
    assert found.reason.startswith("the budget of 300 tokens ran out before the judge had answered")
    assert "raise `max_tokens` of the judge in campaign.yaml, or lower its `reasoning_effort`" in found.reason
    (body,) = server.seen()["bodies"]
    assert (body["max_tokens"], body["reasoning_effort"]) == (300, "low")


def test_the_effort_is_sent_as_the_server_wants_it(server: Serving) -> None:
    engine = server.engine(how={"reasoning_effort": "low"}, url="https://openrouter.ai/api/v1")
    assert engine.question(question(1))["reasoning"] == {"effort": "low"}


def test_an_effort_that_is_refused_is_an_error(server: Serving) -> None:
    server.plan(refuses=("reasoning_effort",))
    (reply,) = server.engine(how={"reasoning_effort": "low"}).ask([question(1)])
    assert reply.error == "HTTP 400: Unsupported parameter: 'reasoning_effort'"
