"""A prompt's own system turn is part of what is judged; a prompt without one shows what it asks alone."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from rft_pipeline.campaign.addresses import as_rollout, readable_prompt
from rft_pipeline.campaign.subjects import subjects_of
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.judges import AnyJudge, make_judge
from rft_pipeline.rules import Rollout
from rft_pipeline.rules.facts import NoInventedFacts
from tests.judges.engines import Counting, OneEngine, Told, judgements

QUESTION = "Can I return it?"
THIRTY, FOURTEEN = "Returns within 30 days.", "Returns within 14 days."
ASKING: dict[str, dict[str, Any]] = {
    "binary": {"protocol": "binary", "question": "Is it right?"},
    "graded": {"protocol": "graded", "question": "How right?", "grades": ["wrong", "right"]},
    "listwise": {"protocol": "listwise", "question": "Which is right?"},
    "pairwise": {"protocol": "pairwise", "question": "Which is right?"},
}
LIKELIHOODS: dict[str, dict[str, Any]] = {
    "contrast": {"protocol": "contrast", "positive": "You are polite.", "negative": "You are rude."},
    "relevance": {"protocol": "relevance", "system": "You are an agent."},
    "cloze": {
        "protocol": "cloze",
        "templates": ["They asked:\n{prompt}\nThey read:\n{reply}\nThe answer is"],
        "positive": ["good"],
        "negative": ["bad"],
    },
}


def judge_of(config: dict[str, Any], engine: Any) -> Any:
    return make_judge(TypeAdapter(AnyJudge).validate_python(config), OneEngine(engine))


def reply(system: str, completion: str) -> Rollout:
    turns = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": QUESTION}]
    row = {"messages": json.dumps(turns), "completion": completion, "finish_reason": "stop", "fields": "{}"}
    return as_rollout(row)


def shown(protocol: str, *rollouts: Rollout) -> list[str]:
    asker = Told(lambda _: "")
    judgements(judge_of(ASKING[protocol], asker), rollouts)
    return [each.messages[-1][1] for each in asker.asked]


@pytest.mark.parametrize("protocol", ASKING)
def test_a_judge_reads_it_between_fences_of_its_own(protocol: str) -> None:
    part = f"```\n{QUESTION}\n```\n\nThe assistant had these instructions:\n```\n{THIRTY}\n```\n"
    texts = shown(protocol, reply(THIRTY, "Yes."), reply(THIRTY, "No."))
    assert texts
    assert all(text.startswith(f"A user wrote:\n{part}") for text in texts)


@pytest.mark.parametrize("protocol", ASKING)
def test_a_prompt_without_one_shows_its_question_alone(protocol: str) -> None:
    for text in shown(protocol, reply("", "Yes."), reply("", "No.")):
        assert text.startswith(f"A user wrote:\n```\n{QUESTION}\n```\n\n")
        assert "these instructions:" not in text


@pytest.mark.parametrize("protocol", ["listwise", "pairwise"])
def test_replies_under_different_ones_are_never_compared(protocol: str) -> None:
    texts = shown(protocol, *(reply(system, text) for system in (THIRTY, FOURTEEN) for text in ("Yes.", "No.")))
    assert len(texts) == 2 * (1 if protocol == "listwise" else 2)
    assert all((THIRTY in text) != (FOURTEEN in text) for text in texts)


@pytest.mark.parametrize("protocol", ["rule", "binary", "contrast", "listwise", "pairwise"])
def test_equal_replies_under_different_ones_are_judged_apart(protocol: str) -> None:
    payload = {"judge": {"protocol": protocol, "rule": {"name": "finishes"}}}
    thirty, fourteen, none = subjects_of([reply(each, "Yes.") for each in (THIRTY, FOURTEEN, "")], payload)
    assert len({thirty, fourteen, none}) == 3
    # another reply to the one prompt makes no other group of the other prompt's
    more = subjects_of([reply(THIRTY, "Yes."), reply(FOURTEEN, "Yes."), reply(THIRTY, "No.")], payload)
    assert more[1] == fourteen


@pytest.mark.parametrize("protocol", LIKELIHOODS)
def test_a_likelihood_is_of_the_reply_after_it(tiny_engine: TransformersEngine, protocol: str) -> None:
    def prefixes(system: str) -> list[str]:
        engine = Counting(tiny_engine)
        judgements(judge_of(LIKELIHOODS[protocol], engine), [reply(system, "Yes.")])
        return [tiny_engine.tokenizer.decode(each.prefix) for each in engine.asked]

    with_it, without = prefixes(THIRTY), prefixes("")
    expected = {"contrast": 2, "relevance": 1, "cloze": 2}[protocol]  # one request of relevance shows no prompt
    assert sum(THIRTY in text for text in with_it) == expected
    assert [text.replace(f"\n\n{THIRTY}", "").replace(f"{THIRTY}\n\n", "") for text in with_it] == without


def test_a_reward_model_reads_it_as_a_system_turn() -> None:
    class Rewarder:
        def reward(self, conversations: Any) -> list[float]:
            self.read = conversations
            return [0.0] * len(conversations)

    rewarder = Rewarder()
    judgements(judge_of({"protocol": "reward_model"}, rewarder), [reply(THIRTY, "Yes."), reply("", "Yes.")])
    asked = (("user", QUESTION), ("assistant", "Yes."))
    assert rewarder.read == [(("system", THIRTY), *asked), asked]


def test_a_fact_that_it_states_is_not_invented() -> None:
    assert NoInventedFacts()(reply(THIRTY, "Within 30 days.")).score == 1.0
    assert NoInventedFacts()(reply(FOURTEEN, "Within 30 days.")).score == 0.0


def test_people_read_it_before_the_question() -> None:
    turns = [{"role": "system", "content": THIRTY}, {"role": "user", "content": QUESTION}]
    assert readable_prompt(json.dumps(turns)) == f"system: {THIRTY}\n\n{QUESTION}"
    assert readable_prompt(json.dumps(turns[1:])) == QUESTION
