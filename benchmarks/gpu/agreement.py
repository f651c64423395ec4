"""How far the engine's and the trainer's log-probs are from those of the model's plain forward pass."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.gpu.workload import Work, load_engine, load_learner, rows_of, sample
from rft_pipeline.engines.base import Completion, ScoreRequest
from rft_pipeline.engines.weights import load_weights

PLAIN = "plain forward"


class Distance(NamedTuple):
    """|path − plain forward in float32| over the tokens of all replies, in nats."""

    dtype: str
    path: str
    mean: float
    largest: float


def distances(folder: Path, work: Work, device: str) -> list[Distance]:
    """Of each path, in float32 and bfloat16. Each format has replies of its own, which its engine sampled."""
    found = []
    for dtype in ("float32", "bfloat16"):
        engine = load_engine(folder, work, dtype, device)
        replies = sample(engine, work)
        paths = {
            "engine, while sampling": [done.logprobs_T for done in replies],
            "engine, scoring": _scored(engine, replies),
            PLAIN: _plain(engine.model, replies),
        }
        engine.close()
        for name, packing in (("trainer, packed", "auto"), ("trainer, padded", "off")):
            learner = load_learner(folder, work, dtype, device, packing)
            rows = rows_of(replies, spread=0.0)
            logprobs = learner.log_probs(rows, range(len(rows)))
            paths[name] = [logprobs[i][1].tolist() for i in range(len(rows))]
            del learner
        exact = _plain(load_weights(folder, "float32", device), replies)
        found += [_distance(dtype, name, logprobs, exact) for name, logprobs in paths.items()]
    return found


def _distance(dtype: str, path: str, logprobs: Sequence[Sequence[float]], exact: Sequence[Sequence[float]]) -> Distance:
    ours, plain = (
        torch.tensor([each for row in rows for each in row], dtype=torch.float64) for rows in (logprobs, exact)
    )
    gaps = (ours - plain).abs()
    return Distance(dtype, path, float(gaps.mean()), float(gaps.max()))


def _scored(engine: Any, replies: Sequence[Completion]) -> list[list[float]]:
    requests = [ScoreRequest(tuple(done.prompt_tokens), tuple(done.tokens_T)) for done in replies]
    return [result.token_logprobs for result in engine.score(requests)]


@torch.inference_mode()
def _plain(model: Any, replies: Sequence[Completion]) -> list[list[float]]:
    """One reply at a time, without padding, cache or code of ours."""
    found = []
    for done in replies:
        ids = torch.tensor([[*done.prompt_tokens, *done.tokens_T]], device=model.device)
        logits = model(input_ids=ids).logits[0, len(done.prompt_tokens) - 1 : -1].float()
        tokens = torch.tensor(done.tokens_T, device=model.device)
        found.append(logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0].tolist())
    return found
