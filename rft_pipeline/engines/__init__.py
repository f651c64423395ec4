"""Engines: what generates, scores and answers, behind small protocols."""

from rft_pipeline.engines.base import (
    Asker,
    ChatReply,
    ChatRequest,
    Completion,
    GenerateRequest,
    Generator,
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
    "Rewarder",
    "ScoreRequest",
    "ScoreResult",
    "Scorer",
]
