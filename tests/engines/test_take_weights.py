"""New weights in a loaded engine: all it does afterwards is what an engine loaded from a checkpoint of them does."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rft_pipeline.campaign import EngineRuntime, Sampling
from rft_pipeline.engines import GenerateRequest, ScoreRequest
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.errors import ModelError
from tests.engines.plain import other_weights
from tests.tiny_campaign import TOPICS

SAMPLING = Sampling(max_new_tokens=8, temperature=0.9, top_p=0.95)
REQUESTS = [GenerateRequest(topic, (("user", f"Please help with the {topic}."),), i) for i, topic in enumerate(TOPICS)]
Weights = dict[str, torch.Tensor]


def loaded(folder: Path, dtype: str = "float32") -> TransformersEngine:
    return TransformersEngine(folder, EngineRuntime(batch_size=4, dtype=dtype, device="cpu"))


def answers(engine: TransformersEngine) -> tuple[list[tuple[str, list[int], list[float]]], list[list[float]]]:
    """Every token and every log-prob of some replies and some scores."""
    drawn = [done for batch in engine.generate(REQUESTS, SAMPLING) for done in batch]
    scores = engine.score([ScoreRequest(tuple(range(5, 5 + n)), (7, 8), candidates=(9,)) for n in range(1, 6)])
    return (
        [(done.request_id, done.tokens_T, done.logprobs_T) for done in drawn],
        [[*score.token_logprobs, *score.candidate_logprobs] for score in scores],
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_engine_with_new_weights_answers_as_one_loaded_from_them(
    tiny_model: Path, tmp_path: Path, dtype: str
) -> None:
    engine = loaded(tiny_model, dtype)
    before = answers(engine)
    engine.take_weights(other_weights(tiny_model, tmp_path, dtype).items())
    after = answers(engine)
    assert after == answers(loaded(tmp_path, dtype))
    assert after != before


def test_every_architecture_takes_weights(architecture_model: Path, tmp_path: Path) -> None:
    engine = loaded(architecture_model)
    engine.take_weights(other_weights(architecture_model, tmp_path).items())
    assert answers(engine) == answers(loaded(tmp_path))


def test_of_tied_weights_one_is_enough(tiny_model: Path, tmp_path: Path) -> None:
    weights = other_weights(tiny_model, tmp_path)
    assert weights["lm_head.weight"].data_ptr() == weights["model.embed_tokens.weight"].data_ptr()
    for left_out in ("lm_head.weight", "model.embed_tokens.weight"):
        engine = loaded(tiny_model)
        engine.take_weights((name, weight) for name, weight in weights.items() if name != left_out)
        assert answers(engine) == answers(loaded(tmp_path))


def missing(weights: Weights) -> None:
    del weights["model.norm.weight"]


def unknown(weights: Weights) -> None:
    weights["base_model.lora_A"] = torch.zeros(2)


def reshaped(weights: Weights) -> None:
    weights["model.norm.weight"] = torch.zeros(2)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (missing, r"missing: model\.norm\.weight"),
        (unknown, r"unknown: base_model\.lora_A"),
        (reshaped, r"of another shape: model\.norm\.weight \(2,\) instead of \(64,\)"),
    ],
)
def test_weights_of_another_model_are_refused(
    tiny_model: Path, tmp_path: Path, spoil: Callable[[Weights], None], message: str
) -> None:
    weights = other_weights(tiny_model, tmp_path)
    spoil(weights)
    with pytest.raises(ModelError, match=message):
        loaded(tiny_model).take_weights(weights.items())


@pytest.mark.parametrize(("dtype", "copied"), [("float32", False), ("bfloat16", True)])
def test_weights_of_the_engines_format_are_used_and_others_are_copied(
    tiny_model: Path, tmp_path: Path, dtype: str, copied: bool
) -> None:
    engine = loaded(tiny_model, dtype)
    weights = other_weights(tiny_model, tmp_path)  # in float32
    engine.take_weights(weights.items())
    before = answers(engine)
    for weight in weights.values():
        weight.mul_(2)
    assert (answers(engine) == before) == copied
    engine.take_weights(weights.items())
    again = loaded(tiny_model, dtype)
    again.take_weights(weights.items())
    assert answers(engine) == answers(again)
