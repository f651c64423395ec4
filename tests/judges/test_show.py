"""What of a prompt a judge is shown: the last turn, the conversation, or also the prompt's own system turn."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from rft_pipeline.campaign.addresses import as_rollout
from rft_pipeline.campaign.subjects import Subjects, subjects_of
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.judges import AnyJudge, JudgeSettings, make_judge
from rft_pipeline.rules import Rollout
from tests.judges.engines import Counting, OneEngine, Told, judgements

SYSTEM, FIRST, SAID, LAST = "Returns take 30 days.", "A lamp?", "Good lamp.", "And the desk?"
SHOWN = {
    "last_turn": f"```\n{LAST}\n```",
    "conversation": f"```\nuser: {FIRST}\nassistant: {SAID}\nuser: {LAST}\n```",
    "system": f"```\nuser: {FIRST}\nassistant: {SAID}\nuser: {LAST}\n```\n\n"
    f"The assistant had these instructions:\n```\n{SYSTEM}\n```",
}
RUDE = {"positive": "You are polite.", "negative": "You are rude."}
ORDER = {"system": "You are an agent.", "shuffles": 1}
CLOZE = {"templates": ["{prompt}\n{reply}\nIt is"], "positive": ["good"], "negative": ["bad"]}


def settings(**config: Any) -> JudgeSettings:
    found: JudgeSettings = TypeAdapter(AnyJudge).validate_python(config)
    return found


def reply(system: str = SYSTEM, first: str = FIRST, last: str = LAST) -> Rollout:
    turns = [("system", system), ("user", first), ("assistant", SAID), ("user", last)]
    messages = json.dumps([{"role": role, "content": text} for role, text in turns])
    return as_rollout({"messages": messages, "completion": "Yes it is.", "finish_reason": "stop", "fields": "{}"})


@pytest.mark.parametrize("show", SHOWN)
def test_a_judge_that_asks_in_words_is_shown_what_it_is_set_to(show: str) -> None:
    asker = Told(lambda _: "Yes")
    judgements(make_judge(settings(protocol="binary", question="Right?", show=show), OneEngine(asker)), [reply()])
    assert asker.asked[0].messages[-1][1].startswith(f"A user wrote:\n{SHOWN[show]}\n\nAn assistant replied:")


def test_the_default_is_everything() -> None:
    assert settings(protocol="binary", question="Right?").identity["show"] == "system"


@pytest.mark.parametrize(
    ("protocol", "config"), [("contrast", RUDE), ("relevance", {}), ("word_order", ORDER), ("cloze", CLOZE)]
)
@pytest.mark.parametrize("show", SHOWN)
def test_a_likelihood_judge_is_shown_it_too(
    tiny_engine: TransformersEngine, protocol: str, config: dict[str, Any], show: str
) -> None:
    engine = Counting(tiny_engine)
    judgements(make_judge(settings(protocol=protocol, show=show, **config), OneEngine(engine)), [reply()])
    text = tiny_engine.tokenizer.decode(engine.asked[0].prefix)
    shown = {part for part in (SYSTEM, FIRST, LAST) if part in text}
    assert shown == {"last_turn": {LAST}, "conversation": {FIRST, LAST}, "system": {SYSTEM, FIRST, LAST}}[show]


def test_recall_weighs_what_is_shown(tiny_engine: TransformersEngine) -> None:
    engine = Counting(tiny_engine)
    judgements(make_judge(settings(protocol="recall", show="last_turn"), OneEngine(engine)), [reply()])
    assert {each.continuation for each in engine.asked} == {tuple(tiny_engine.reply_tokens(LAST))}


@pytest.mark.parametrize(
    ("show", "different"),
    [("last_turn", [LAST]), ("conversation", [LAST, FIRST]), ("system", [LAST, FIRST, SYSTEM])],
)
def test_only_what_is_shown_is_part_of_the_subject(show: str, different: list[str]) -> None:
    payload = settings(protocol="binary", question="Right?", show=show).payload
    others = {LAST: reply(last="Why?"), FIRST: reply(first="A bed?"), SYSTEM: reply(system="Returns take 9 days.")}
    [subject] = subjects_of([reply()], payload)
    assert [part for part, other in others.items() if subjects_of([other], payload) != [subject]] == different


def test_criteria_that_are_shown_the_same_have_their_subjects_hashed_once() -> None:
    seen = Subjects([reply()])
    binary, contrast = (
        settings(protocol="binary", question="Right?").payload,
        settings(protocol="contrast", **RUDE).payload,
    )
    assert seen.of(contrast) is seen.of(binary)
    last = settings(protocol="binary", question="Right?", show="last_turn").payload
    assert seen.of(last) == subjects_of([reply()], last) != seen.of(binary)


def test_replies_to_different_prompts_are_never_compared_even_if_what_is_shown_is_the_same() -> None:
    asker = Told(lambda _: '{"reason": "", "ranking": []}')
    judge = make_judge(settings(protocol="listwise", question="Which?", show="last_turn"), OneEngine(asker))
    replies = [reply(first=first) for first in ("A lamp?", "A bed?")]
    judgements(judge, [Rollout(**{**vars(each), "completion": text}) for each in replies for text in ("Yes.", "No.")])
    assert len(asker.asked) == 2


def test_a_prompt_of_one_turn_is_its_last_turn() -> None:
    messages = json.dumps([{"role": "user", "content": FIRST}])
    view = as_rollout({"messages": messages, "completion": "Yes.", "finish_reason": "stop", "fields": "{}"})
    assert (view.last_turn, view.showing("last_turn")) == ("", view)
