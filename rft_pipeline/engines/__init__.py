"""Engines: what generates and scores text, behind two small protocols."""

from rft_pipeline.engines.base import Completion, GenerateRequest, Generator, Scorer, ScoreRequest, ScoreResult

__all__ = ["Completion", "GenerateRequest", "Generator", "ScoreRequest", "ScoreResult", "Scorer"]
