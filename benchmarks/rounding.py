"""Rounding: how much of what a warm start has learnt is left when its float32 weights become bfloat16?

The warm start is made in float32 and keeps its exact weights. Then the mean log-likelihood of the references is taken
with the exact weights, with each weight rounded to the nearest bfloat16 number, and with weights rounded as checkpoints
are. All passes compute in float32, so only the weights differ.
"""

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from benchmarks.common import CampaignName, Goal, conclude, find_campaign, run
from benchmarks.partial import Subject
from rft_pipeline import models
from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.cli import console
from rft_pipeline.engines import ScoreRequest
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.engines.weights import load_weights
from rft_pipeline.errors import DataError
from rft_pipeline.models.merging import copy_tokenizer
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.prompts.reading import read_prompts
from rft_pipeline.rounding import rounded
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.stages.sampling import conversation
from rft_pipeline.stages.warm_start import references_of

Weights = dict[str, torch.Tensor]
WAYS: dict[str, Callable[[str, torch.Tensor], torch.Tensor]] = {
    "exact": lambda name, weight: weight,
    "rounded to the nearest": lambda name, weight: weight.bfloat16().float(),
    "rounded at random": lambda name, weight: rounded(name, weight, seed=1),
}
LEARNING_RATE = 1e-5
"""Of the warm start, with all weights."""


def rounding(campaign: CampaignName = "ticket_subject") -> None:
    """Log-likelihood of the references after a warm start, by the rounding of its weights."""
    chosen = find_campaign(campaign)
    if chosen.training.warm_start is None:
        raise DataError(f"{campaign} has no training.warm_start")
    with tempfile.TemporaryDirectory() as scratch:
        subject = Subject(chosen, Path(scratch), None)
        base = models.resolve(chosen.policy.model, subject.home.models, chosen.folder).folder
        start, stored = Path(scratch) / "start", load_weights(base, "float32", "cpu")
        stored.save_pretrained(start)
        copy_tokenizer(base, start)
        subject.edit("campaign.yaml", lambda settings: _in_float32(settings, start))
        loaded, pipeline = load_campaign(subject.folder), Pipeline(subject.home)
        for name in ("prompts", "policy"):
            pipeline.run(loaded, name)
        record = pipeline.run(loaded, "warm_start")
        before: Weights = dict(stored.state_dict())
        exact: Weights = dict(load_weights(record.path("checkpoint"), "float32", "cpu").state_dict())
        found = {way: {name: how(name, weight) for name, weight in exact.items()} for way, how in WAYS.items()}
        nats = _nats(loaded, subject, start, found)
        table = Table("weights", "moved, % of weights", "nats per token")
        table.add_row("base", "–", f"{nats['base']:.3f}")
        for way, weights in found.items():
            table.add_row(way, f"{100 * _moved(weights, before):.0f}", f"{nats[way]:.3f}")
    console.out.print(table)
    kept = (nats["rounded at random"] - nats["base"]) / (nats["exact"] - nats["base"])
    conclude([Goal("kept of what was learnt, rounded at random", f"{kept:.2f}", "≥ 0.97", kept >= 0.97)])


def _in_float32(settings: dict[str, Any], start: Path) -> None:
    """Train all weights, from a float32 copy of the model. An adapter would leave none to be rounded."""
    settings["policy"].update(model=str(start))
    settings["training"] |= {"weights": "full", "freeze_embeddings": True}
    settings["training"].setdefault("runtime", {}).update(dtype="float32")
    settings["training"]["warm_start"]["learning_rate"] = LEARNING_RATE


def _moved(weights: Weights, before: Weights) -> float:
    """The share of weights that are not what they were."""
    changed = sum(int((weights[name] != before[name]).sum()) for name in weights)
    count: int = sum(weight.numel() for weight in weights.values())
    return changed / count


def _nats(campaign: Campaign, subject: Subject, start: Path, policies: dict[str, Weights]) -> dict[str, float]:
    """Mean log-likelihood of the references' tokens, in nats, of base and of each policy."""
    rows = references_of(read_prompts(campaign).rows, campaign, subject.home.store)
    runtime = campaign.evaluation.runtime.model_copy(update={"dtype": "float32"})
    found = {}
    with closing(TransformersEngine(start, runtime)) as engine:
        requests = [
            ScoreRequest(
                tuple(engine.chat_tokens(conversation(messages, campaign.policy.system))),
                tuple(engine.reply_tokens(reference)),
            )
            for messages, reference in rows.select("messages", REFERENCE).iter_rows()
        ]
        for name, weights in {"base": {}, **policies}.items():
            if weights:
                engine.take_weights(weights.items())
            scored = [logprob for result in engine.score(requests) for logprob in result.token_logprobs]
            found[name] = sum(scored) / len(scored)
    return found


if __name__ == "__main__":
    run(rounding)
