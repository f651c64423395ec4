"""All judgements of some rollouts at once."""

from typing import Any

import polars as pl

from rft_pipeline.stages.judging import judging


def judge_rollouts(*of: Any, **how: Any) -> tuple[pl.DataFrame, dict[str, int]]:
    """What `judging` makes: the rows, and how many were made by criterion."""
    with judging(*of, **how) as judged:
        return judged()
