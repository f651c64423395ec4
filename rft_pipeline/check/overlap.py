"""Checks that train and eval prompts do not overlap."""

import polars as pl

from rft_pipeline.check.result import Findings
from rft_pipeline.prompts.overlap import overlaps

PAIRS_SHOWN = 10


def check_overlap(train: pl.DataFrame, held_out: pl.DataFrame, train_file: str, eval_file: str, data: Findings) -> None:
    """An error for each eval prompt that is also a train prompt."""
    pairs = overlaps(train, held_out)
    for pair in pairs[:PAIRS_SHOWN]:
        same = "has the same text as" if pair.similarity == 1 else f"shares {pair.similarity:.0%} of word triples with"
        data.errors.append(
            f"{eval_file}: {pair.eval_id} {same} {pair.train_id} of {train_file}; evaluation needs prompts that "
            "training does not use: change or remove one"
        )
    if len(pairs) > PAIRS_SHOWN:
        data.errors.append(f"{eval_file}: {len(pairs) - PAIRS_SHOWN} more prompts overlap with prompts of {train_file}")
