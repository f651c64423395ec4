"""Every architecture of the matrix: the engine's numbers are those of the model's own forward pass."""

from pathlib import Path

import pytest

from rft_pipeline.campaign import EngineRuntime, Sampling
from rft_pipeline.engines import GenerateRequest, ScoreRequest
from rft_pipeline.engines.transformers import TransformersEngine
from tests.engines.plain import picked, plain_logprobs
from tests.tiny_campaign import TOPICS

CANDIDATES = (3, 200, 5)


@pytest.fixture(scope="module")
def engine(architecture_model: Path) -> TransformersEngine:
    return TransformersEngine(architecture_model, EngineRuntime(batch_size=8, dtype="float32", device="cpu"))


def test_the_logprobs_of_a_completion_are_those_of_the_plain_model(engine: TransformersEngine) -> None:
    texts = [*(f"Please help with the {topic}." for topic in TOPICS[:5]), TOPICS[0], TOPICS[0]]
    requests = [GenerateRequest(str(i), (("user", text),), i) for i, text in enumerate(texts)]
    how = Sampling(max_new_tokens=12, temperature=0.8, top_k=200)
    found = [done for batch in engine.generate(requests, how) for done in batch]
    assert len(found) == len(texts)
    for done in found:
        assert done.prompt_tokens == engine.chat_tokens(requests[int(done.request_id)].messages)
        logprobs_TV = plain_logprobs(engine, done.prompt_tokens, done.tokens_T)
        assert done.logprobs_T == pytest.approx(picked(logprobs_TV, done.tokens_T), abs=1e-4)


@pytest.mark.parametrize("beginning", ["", "A customer wrote this, and an agent answers it: "])
def test_scores_are_those_of_the_plain_model(engine: TransformersEngine, beginning: str) -> None:
    """Without a beginning that all prefixes share, and with one."""
    text = tuple(engine.text_tokens("Please help with the lamp and the desk."))
    prefixes = [(*engine.text_tokens(beginning), *part) for part in (text[:1], text[:7], text)]
    continuations = [tuple(engine.text_tokens(text)) for text in ("", "Yes.", "No, the lamp is not good and bad.")]
    requests = [
        ScoreRequest(prefix, continuation, candidates, want_tokens)
        for prefix in prefixes
        for continuation in continuations
        for candidates, want_tokens in ((CANDIDATES, True), (CANDIDATES, False), ((), True))
    ]
    for asked, result in zip(requests, engine.score(requests), strict=True):
        logprobs_TV = plain_logprobs(engine, asked.prefix, asked.continuation)
        tokens = picked(logprobs_TV, asked.continuation) if asked.want_tokens else []
        after = logprobs_TV[-1][list(asked.candidates)].tolist()
        assert result.token_logprobs == pytest.approx(tokens, abs=1e-4)
        assert result.candidate_logprobs == pytest.approx(after, abs=1e-4)
