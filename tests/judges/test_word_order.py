"""`word_order`: exact against the bare model of every architecture, and what has no order."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from rft_pipeline.campaign import EngineRuntime
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.judges import AnyJudge, Judge, Squash, Status, make_judge
from rft_pipeline.judges.word_order import shuffled
from rft_pipeline.rules import Rollout
from tests.architectures import architecture, architecture_model
from tests.engines.plain import picked, plain_logprobs
from tests.judges.engines import Counting, OneEngine, judgements

__all__ = ["architecture", "architecture_model"]

SYSTEM = "You are an agent."
LAMP = Rollout("Please help with the lamp.", "The lamp is bad.")


def word_order(engine: Any, **settings: Any) -> Judge:
    plain = {"protocol": "word_order", "system": SYSTEM, "squash": {"offset": 0.1, "scale": 0.2}, **settings}
    return make_judge(TypeAdapter(AnyJudge).validate_python(plain), OneEngine(engine))


def test_it_is_the_likelihood_of_the_reply_minus_that_of_its_words_shuffled(architecture_model: Path) -> None:
    engine = TransformersEngine(architecture_model, EngineRuntime(batch_size=3, dtype="float32", device="cpu"))
    prefix = engine.chat_tokens((("system", SYSTEM), ("user", LAMP.prompt)))

    def per_word(text: str) -> float:
        tokens = engine.reply_tokens(text)
        return sum(picked(plain_logprobs(engine, prefix, tokens), tokens)) / 4

    own, *others = map(per_word, (LAMP.completion, *shuffled(LAMP.completion, 3)))
    [judgement] = judgements(word_order(engine), [LAMP])
    expected = own - sum(others) / 3
    assert float(judgement.raw.removesuffix(" nats")) == pytest.approx(expected, abs=3e-4)
    assert judgement.score == pytest.approx(Squash(offset=0.1, scale=0.2).score(expected), abs=2e-3)


def test_shuffled_replies_have_the_same_words_in_other_orders_and_are_the_same_each_time() -> None:
    found = shuffled("late sofa bed", 4)
    assert found == shuffled("late sofa bed", 4)
    assert all(sorted(each.split()) == ["bed", "late", "sofa"] and each != "late sofa bed" for each in found)
    assert shuffled("late late", 2) == ["late late"] * 2


@pytest.mark.parametrize("reply", ["Lamp", "lamp lamp lamp"])
def test_what_has_no_other_order_gets_0_nats_by_one_request(reply: str, tiny_engine: TransformersEngine) -> None:
    engine = Counting(tiny_engine)
    [judgement] = judgements(word_order(engine), [Rollout(LAMP.prompt, reply)])
    assert judgement.raw == "0.0000 nats"
    assert len(engine.asked) == 1


def test_an_empty_reply_is_never_sent(tiny_engine: TransformersEngine) -> None:
    engine = Counting(tiny_engine)
    [empty] = judgements(word_order(engine), [Rollout(LAMP.prompt, " \n")])
    assert empty.status is Status.SCORED
    assert empty.score == 0
    assert engine.asked == []
