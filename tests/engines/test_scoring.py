"""Scores of the engine against the plain model: sharing of prefixes must not show in any number."""

import math

import pytest
import torch

from rft_pipeline.engines import ScoreRequest
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.errors import EngineError
from tests.engines.plain import picked, plain_logprobs
from tests.tiny_campaign import TOPICS


def test_scores_equal_an_unshared_pass_over_the_whole_sequence(tiny_engine: TransformersEngine) -> None:
    tokens = tiny_engine.text_tokens
    prefixes = [
        tuple(tokens(f"Please help with the {topic} and the desk")[:length])
        for topic in TOPICS[:3]
        for length in (2, 7)
    ]
    continuations = [tuple(tokens(text)) for text in ("Yes.", "No, the lamp is not good and the chair is bad.", "")]
    requests = [
        ScoreRequest(prefix, continuation, candidates=(3, 200, 5))
        for continuation in continuations
        for prefix in prefixes
    ]
    results = tiny_engine.score(requests)
    assert len(results) == len(requests) == 18
    for asked, result in zip(requests, results, strict=True):
        logprobs_TV = plain_logprobs(tiny_engine, asked.prefix, asked.continuation)
        assert result.token_logprobs == pytest.approx(picked(logprobs_TV, asked.continuation), abs=1e-4)
        assert result.candidate_logprobs == pytest.approx(logprobs_TV[-1][[3, 200, 5]].tolist(), abs=1e-4)


def test_what_all_prefixes_of_a_batch_begin_with_is_computed_once(tiny_engine: TransformersEngine) -> None:
    beginning = tuple(tiny_engine.text_tokens("A customer wrote this, and an agent answers it: "))
    requests = [ScoreRequest((*beginning, token, 9), (7, 8)) for token in range(20, 24)]
    read: list[torch.Size] = []
    watch = tiny_engine.model.get_input_embeddings().register_forward_pre_hook(
        lambda _, args: read.append(args[0].shape)
    )
    try:
        tiny_engine.score(requests)
    finally:
        watch.remove()
    assert read[:3] == [(1, len(beginning)), (4, 1), (4, 3)]


def test_an_empty_continuation_scores_what_comes_right_after_the_prefix(tiny_engine: TransformersEngine) -> None:
    prefix = tuple(tiny_engine.text_tokens("The tone of this message is"))
    every = tuple(range(len(tiny_engine.tokenizer)))
    (result,) = tiny_engine.score([ScoreRequest(prefix, (), candidates=every)])
    assert result.token_logprobs == []
    assert sum(map(math.exp, result.candidate_logprobs)) == pytest.approx(1, abs=1e-5)


def test_only_what_is_wanted_is_scored(tiny_engine: TransformersEngine) -> None:
    prefix = tuple(tiny_engine.text_tokens("The tone of this message is"))
    (result,) = tiny_engine.score([ScoreRequest(prefix, (5, 6), want_tokens=False)])
    assert (result.token_logprobs, result.candidate_logprobs) == ([], [])


def test_many_wanted_positions_are_scored_piece_by_piece(
    tiny_engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tuple(tiny_engine.text_tokens("Please help"))
    requests = [ScoreRequest(prefix, tuple(range(5, 5 + n)), candidates=(9,) * (n % 3)) for n in range(7)]
    whole = tiny_engine.score(requests)
    monkeypatch.setattr("rft_pipeline.engines.transformers._PROJECTED", 2)
    for pieces, result in zip(tiny_engine.score(requests), whole, strict=True):
        assert pieces.token_logprobs == pytest.approx(result.token_logprobs, abs=1e-5)
        assert pieces.candidate_logprobs == pytest.approx(result.candidate_logprobs, abs=1e-5)


def test_a_prefix_of_one_token_is_scored(tiny_engine: TransformersEngine) -> None:
    requests = [ScoreRequest((5,), (6, 7)), ScoreRequest((5, 8, 9), (6,))]
    for asked, result in zip(requests, tiny_engine.score(requests), strict=True):
        logprobs_TV = plain_logprobs(tiny_engine, asked.prefix, asked.continuation)
        assert result.token_logprobs == pytest.approx(picked(logprobs_TV, asked.continuation), abs=1e-4)
    (alone,) = tiny_engine.score(requests[:1])
    assert alone.token_logprobs == pytest.approx(tiny_engine.score(requests)[0].token_logprobs, abs=1e-4)


def test_a_prefix_without_tokens_is_refused(tiny_engine: TransformersEngine) -> None:
    with pytest.raises(EngineError, match="at least one token"):
        tiny_engine.score([ScoreRequest((), (6, 7))])
