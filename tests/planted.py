"""Planted replies to held-out prompts: what each round is worth is known, whatever the tiny model would have sampled.

By the rules of the tiny campaign base says three or four of six words, with an "e"; round 1 says all six, with an "e";
round 2 says three words without. The model judges see no difference between planted replies, so on every prompt round 1
is better than base and round 2 is worse. Each token is 0.01 nats a round likelier than to base, so that both left base.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.campaign import EngineRuntime, Sampling
from rft_pipeline.engines import Completion, GenerateRequest, ScoreRequest, ScoreResult, load
from rft_pipeline.engines.transformers import TransformersEngine

EVALUATION = 0.7
"""Temperature at which the tiny campaign samples held-out replies, and nothing else."""

BASE = ("the lamp is", "the lamp is bad", "the chair is cold")
ROUNDS = ("the lamp is good and warm", "a bad lamp")


class Planted(TransformersEngine):
    """The transformers engine, but for planted replies and how they are judged."""

    def __init__(self, folder: Path, runtime: EngineRuntime, base: Path) -> None:
        super().__init__(folder, runtime)
        self.base = TransformersEngine(base, runtime)
        found = re.search(r"/round_(\d)/", str(folder))
        self.round = int(found[1]) if found else 0
        self.planted = {tuple(self.text_tokens(text)) for text in (*BASE, *ROUNDS)}

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> Iterator[list[Completion]]:
        if sampling.temperature != EVALUATION:
            yield from super().generate(requests, sampling)
            return
        yield [self._planted(request) for request in requests]

    def _planted(self, request: GenerateRequest) -> Completion:
        """Cut off, as most replies of the tiny model are."""
        prompt = self.chat_tokens(request.messages)
        text = ROUNDS[self.round - 1] if self.round else BASE[len(request.messages[-1][1]) % len(BASE)]
        tokens = self.text_tokens(text)
        (scored,) = self.base.score([ScoreRequest(tuple(prompt), tuple(tokens))])
        logprobs = [logprob + 0.01 * self.round for logprob in scored.token_logprobs]
        return Completion(request.request_id, prompt, tokens, logprobs, text, "length")

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """A planted reply is as likely after one prefix as after any other."""
        return [
            ScoreResult([-1.0] * len(request.continuation), result.candidate_logprobs)
            if request.continuation in self.planted
            else result
            for request, result in zip(requests, super().score(requests), strict=True)
        ]


@contextmanager
def replies_planted(base: Path) -> Iterator[None]:
    """Held-out replies that this process samples for the tiny campaign meanwhile are planted; `base` is its model."""
    load_engine = load.load_engine

    def planting(folder: Path, runtime: EngineRuntime) -> Any:
        return Planted(folder, runtime, base) if runtime.engine == "transformers" else load_engine(folder, runtime)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(load, "load_engine", planting)
        yield
