"""vLLM against the transformers engine on the same weights: what is stored must not tell which of them made it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from rft_pipeline import models
from rft_pipeline.campaign import EngineRuntime, Sampling
from rft_pipeline.engines import Completion, GenerateRequest, ScoreRequest, ScoreResult
from rft_pipeline.engines.base import Generator
from rft_pipeline.errors import EngineError, ModelError
from rft_pipeline.store import Home
from tests.tiny_campaign import TOPICS
from tests.vllm import NEEDS_VLLM
from tests.vllm.conftest import RUNTIME

if TYPE_CHECKING:
    from rft_pipeline.engines.transformers import TransformersEngine
    from rft_pipeline.engines.vllm import VllmEngine

pytestmark = NEEDS_VLLM

GREEDY = Sampling(temperature=0, max_new_tokens=12)


def request(name: str, text: str, seed: int) -> GenerateRequest:
    return GenerateRequest(name, (("system", "You are a support agent."), ("user", text)), seed)


REQUESTS = [request(f"r{i}", f"Please help with the {topic}.", 2**62 + i) for i, topic in enumerate(TOPICS[:10])]


def generate(engine: Generator, requests: Sequence[GenerateRequest], how: Sampling) -> dict[str, Completion]:
    return {done.request_id: done for batch in engine.generate(requests, how) for done in batch}


def test_greedy_replies_are_those_of_the_transformers_engine(engine: "VllmEngine", plain: "TransformersEngine") -> None:
    ours, theirs = generate(engine, REQUESTS, GREEDY), generate(plain, REQUESTS, GREEDY)
    for name, done in ours.items():
        other = theirs[name]
        assert (done.prompt_tokens, done.tokens_T) == (other.prompt_tokens, other.tokens_T)
        assert (done.text, done.finish_reason) == (other.text, other.finish_reason)
        assert done.logprobs_T == pytest.approx(other.logprobs_T, abs=1e-3)


def test_a_seed_draws_the_same_reply_again_in_any_order(engine: "VllmEngine") -> None:
    how = Sampling(max_new_tokens=12)
    first, again = generate(engine, REQUESTS, how), generate(engine, REQUESTS[::-1], how)
    assert {name: done.tokens_T for name, done in first.items()} == {n: d.tokens_T for n, d in again.items()}
    others = generate(engine, [request(str(seed), "Hello.", seed) for seed in range(8)], how)
    assert len({tuple(done.tokens_T) for done in others.values()}) == 8


def test_logprobs_are_the_models_own_whatever_the_sampling(engine: "VllmEngine", plain: "TransformersEngine") -> None:
    how = Sampling(max_new_tokens=8, temperature=0.3, top_k=5, top_p=0.9)
    drawn = list(generate(engine, REQUESTS, how).values())
    scored = plain.score([ScoreRequest(tuple(done.prompt_tokens), tuple(done.tokens_T)) for done in drawn])
    for done, result in zip(drawn, scored, strict=True):
        assert done.logprobs_T == pytest.approx(result.token_logprobs, abs=1e-3)


def test_a_reply_stops_with_the_end_of_turn_or_at_the_budget(engine: "VllmEngine") -> None:
    requests = [request(f"s{seed}", "Hello.", seed) for seed in range(64)]
    drawn = generate(engine, requests, Sampling(max_new_tokens=40)).values()
    assert {done.finish_reason for done in drawn} == {"stop", "length"}
    for done in drawn:
        assert done.tokens_T.count(2) == (done.finish_reason == "stop")
        assert done.tokens_T[-1] == 2 or len(done.tokens_T) == 40
        assert "<|" not in done.text


def test_scores_are_those_of_the_transformers_engine(engine: "VllmEngine", plain: "TransformersEngine") -> None:
    prefixes = [tuple(plain.text_tokens(f"Please help with the {topic} and the desk")) for topic in TOPICS[:3]]
    texts = ("Yes.", "No, the lamp is not good and the chair is bad.", "")
    requests = [
        ScoreRequest(prefix, tuple(plain.text_tokens(text)), candidates=(3, 200, 5, 3), want_tokens=want)
        for text in texts
        for prefix in (*prefixes, prefixes[0][:1])
        for want in (True, False)
    ]
    for ours, theirs in zip(engine.score(requests), plain.score(requests), strict=True):
        assert ours.token_logprobs == pytest.approx(theirs.token_logprobs, abs=1e-3)
        assert ours.candidate_logprobs == pytest.approx(theirs.candidate_logprobs, abs=1e-3)


def test_nothing_asked_is_nothing_made_and_what_cannot_be_asked_is_refused(engine: "VllmEngine") -> None:
    assert list(engine.generate([], GREEDY)) == engine.score([]) == []
    with pytest.raises(EngineError, match="at least one token"):
        engine.score([ScoreRequest((5, 6), (7,)), ScoreRequest((), (6, 7))])
    with pytest.raises(EngineError, match="at most 128"):
        engine.score([ScoreRequest((5, 6), (), candidates=tuple(range(129)))])
    with pytest.raises(EngineError, match="1024"):
        engine.score([ScoreRequest((5,) * 1500, (7,))])


def test_replies_are_handed_over_as_they_finish_and_the_rest_can_be_left(
    engine: "VllmEngine", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rft_pipeline.engines.vllm._SECONDS", 0.0)
    many = [request(f"s{seed}", "Hello.", seed) for seed in range(40)]
    batches = engine.generate(many, GREEDY)
    assert 0 < len(next(batches)) < 40
    batches.close()  # type: ignore[attr-defined]
    assert len(generate(engine, REQUESTS, GREEDY)) == len(REQUESTS)


def test_an_engine_with_new_weights_answers_as_one_loaded_from_them(tiny_model: Path, tmp_path: Path) -> None:
    from rft_pipeline.engines.vllm import VllmEngine
    from tests.engines.plain import other_weights

    def answers(engine: VllmEngine) -> tuple[dict[str, Completion], list[ScoreResult]]:
        scores = engine.score([ScoreRequest(tuple(range(5, 5 + n)), (7, 8), candidates=(9,)) for n in range(20, 25)])
        return generate(engine, REQUESTS, Sampling(max_new_tokens=12, top_p=0.9)), scores

    engine = VllmEngine(tiny_model, RUNTIME)
    try:
        before = answers(engine)
        weights = other_weights(tiny_model, tmp_path)
        engine.take_weights(weights.items())
        after = answers(engine)
        engine.take_weights(weights.items())
        again = answers(engine)
        del weights["model.norm.weight"]
        with pytest.raises(ModelError, match=r"missing: model\.norm\.weight"):
            engine.take_weights(weights.items())
    finally:
        engine.close()
    loaded = VllmEngine(tmp_path, RUNTIME)
    try:
        assert after == again == answers(loaded)
    finally:
        loaded.close()
    assert after != before


def test_a_closed_engine_leaves_no_process_behind(tiny_model: Path) -> None:
    from rft_pipeline.engines.load import load_engine

    before = set(psutil.Process().children(recursive=True))
    engine = load_engine(tiny_model, RUNTIME)
    started = set(psutil.Process().children(recursive=True)) - before
    held = sum(process.memory_info().rss for process in started)
    assert held > 200_000_000
    engine.close()
    _, alive = psutil.wait_procs(started, timeout=10)
    assert [process.cmdline() for process in alive if "resource_tracker" not in " ".join(process.cmdline())] == []


@pytest.mark.e2e
def test_on_the_embedded_model_both_engines_say_nearly_the_same() -> None:
    from rft_pipeline.engines.transformers import TransformersEngine
    from rft_pipeline.engines.vllm import VllmEngine

    folder = models.resolve("embedded", Home.find().models, Path.cwd()).folder
    engine = VllmEngine(folder, EngineRuntime(engine="vllm", memory_share=0.2))
    try:
        ours = generate(engine, REQUESTS, Sampling(max_new_tokens=24))
        greedy = generate(engine, REQUESTS, GREEDY)
        assert {n: d.tokens_T for n, d in generate(engine, REQUESTS, GREEDY).items()} == {
            n: d.tokens_T for n, d in greedy.items()
        }
    finally:
        engine.close()
    exact = TransformersEngine(folder, EngineRuntime(dtype="float32"))
    requests = [ScoreRequest(tuple(done.prompt_tokens), tuple(done.tokens_T)) for done in ours.values()]
    gaps = [
        abs(mine - other)
        for done, result in zip(ours.values(), exact.score(requests), strict=True)
        for mine, other in zip(done.logprobs_T, result.token_logprobs, strict=True)
    ]
    assert sum(gaps) / len(gaps) < 0.05
    likeliest = generate(exact, REQUESTS, GREEDY)
    same = [a == b for name in greedy for a, b in zip(greedy[name].tokens_T, likeliest[name].tokens_T, strict=False)]
    assert sum(same) / len(same) > 0.7
