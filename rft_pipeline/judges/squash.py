"""The squash: how what a judge measured, in nats or as a reward, becomes a score.

The number is what is stored, and it is squashed when it is read. So a squash is no part of what a judge is asked, and
another one asks no judge.
"""

import math
from collections.abc import Mapping
from typing import Any

import polars as pl
from pydantic import Field

from rft_pipeline.strict import Strict


class Squash(Strict):
    """Turns a measured number (nats, a reward) into a score: sigmoid((number − offset) / scale)."""

    offset: float = 0.0
    """The measured number that scores 0.5."""
    scale: float = Field(default=0.5, gt=0)
    """How far from it the score is 0.73 (or 0.27)."""

    def score(self, number: float) -> float:
        """In (0, 1); far out it is rounded to 0 or 1. NaN stays NaN."""
        if math.isnan(number):
            return number  # min and max would turn it into a number
        return 1 / (1 + math.exp(-max(-700.0, min(700.0, (number - self.offset) / self.scale))))


def question_in(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What a judge is asked, from the payload of its criterion: all but the squash."""
    return {**payload, "judge": {name: value for name, value in payload["judge"].items() if name != "squash"}}


def squashed(judgements: pl.DataFrame, payload: Mapping[str, Any]) -> pl.DataFrame:
    """Stored judgements of a criterion with this payload, with their scores and without what was `measured`."""
    judge = payload["judge"]
    if "squash" in judge:
        squash = Squash.model_validate(judge["squash"])
        found = judgements.select("score", "measured").iter_rows()
        scores = [score if measured is None else squash.score(measured) for score, measured in found]
        judgements = judgements.with_columns(pl.Series("score", scores, pl.Float64))
    return judgements.drop("measured")
