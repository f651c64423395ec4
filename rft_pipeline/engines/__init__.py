"""Engines: they generate, score and answer, with transformers, vLLM or a server."""

from rft_pipeline.engines.base import (
    Asker,
    ChatReply,
    ChatRequest,
    Completion,
    GenerateRequest,
    Generator,
    LocalPolicy,
    Rewarder,
    Scorer,
    ScoreRequest,
    ScoreResult,
)

__all__ = [
    "Asker",
    "ChatReply",
    "ChatRequest",
    "Completion",
    "GenerateRequest",
    "Generator",
    "LocalPolicy",
    "Rewarder",
    "ScoreRequest",
    "ScoreResult",
    "Scorer",
]
