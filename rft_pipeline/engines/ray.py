"""The ray engine: the requests of a stage are shared out among workers on a Ray cluster.

Seeds belong to requests, so the answers are the same whoever gives them. A piece for transformers is the batch that the
engine would form in one process, so even the rounding is the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rft_pipeline.engines.answers import LocalAsker
from rft_pipeline.engines.base import Completion, GenerateRequest, Messages, ScoreRequest, ScoreResult, by_length
from rft_pipeline.engines.end_tokens import end_tokens
from rft_pipeline.engines.ray_workers import Piece, Pool
from rft_pipeline.engines.settings import EngineRuntime, Sampling
from rft_pipeline.engines.weights import load_tokenizer

if TYPE_CHECKING:
    import torch


class RayEngine(LocalAsker):
    """A causal language model on several workers. Tokens are made in this process."""

    def __init__(self, folder: Path, runtime: EngineRuntime) -> None:
        self.tokenizer = load_tokenizer(folder)
        self.ends = end_tokens(folder, self.tokenizer)
        self.batch_size = runtime.worker.batch_size
        self.pool = Pool(folder, runtime)
        self.context = self.pool.context

    def take_weights(self, weights: Iterable[tuple[str, "torch.Tensor"]]) -> None:
        self.pool.take_weights(weights)

    def close(self) -> None:
        """End the workers. The engine cannot be used afterwards."""
        self.pool.close()

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> Iterator[list[Completion]]:
        rows = [(self.prompt_tokens(request), request) for request in requests]
        rows.sort(key=lambda row: (len(row[0]), row[0]))
        starts = range(0, len(rows), self.batch_size)
        pieces = (
            Piece("generate", [request for _, request in rows[start : start + self.batch_size]], (sampling,))
            for start in starts
        )
        for _, done in self.pool.run(pieces):
            yield done

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        (found,) = self.score_parts([requests])
        return found

    def score_parts(self, parts: Iterable[Sequence[ScoreRequest]]) -> Iterator[list[ScoreResult]]:
        found: list[list[Any]] = []

        def pieces() -> Iterator[Piece]:
            for number, part in enumerate(parts):
                found.append([None] * len(part))
                order = sorted(range(len(part)), key=[by_length(each) for each in part].__getitem__)
                for start in range(0, len(order), self.batch_size):
                    places = order[start : start + self.batch_size]
                    yield Piece("score", [part[i] for i in places], places=(number, places))

        shown = 0
        for piece, results in self.pool.run(pieces()):
            number, places = piece.places
            for place, result in zip(places, results, strict=True):
                found[number][place] = result
            while shown < len(found) and None not in found[shown]:
                yield found[shown]
                found[shown], shown = [], shown + 1
        yield from found[shown:]


class RayRewarder:
    """A reward model on several workers."""

    def __init__(self, folder: Path, runtime: EngineRuntime) -> None:
        self.pool = Pool(folder, runtime, rewards=True)
        self.batch_size = runtime.worker.batch_size

    def close(self) -> None:
        self.pool.close()

    def reward(self, conversations: Sequence[Messages]) -> list[float]:
        starts = range(0, len(conversations), self.batch_size)
        pieces = [
            Piece("reward", list(conversations[start : start + self.batch_size]), places=(start, []))
            for start in starts
        ]
        found = {piece.places[0]: rewards for piece, rewards in self.pool.run(pieces)}
        return [reward for start in starts for reward in found[start]]
