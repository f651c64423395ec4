"""Prompts that are both in the training and in the evaluation set."""

import polars as pl

from rft_pipeline.check.result import Findings
from rft_pipeline.prompts.overlap import overlaps

PAIRS_SHOWN = 10


def check_overlap(train: pl.DataFrame, held_out: pl.DataFrame, train_file: str, eval_file: str, data: Findings) -> None:
    """An error for each eval prompt that is also a train prompt."""
    pairs = overlaps(train, held_out)
    for pair in pairs[:PAIRS_SHOWN]:
        how = "the same text as" if pair.similarity == 1 else f"{pair.similarity:.0%} alike by word triples with"
        data.errors.append(
            f"{eval_file}: {pair.eval_id} is {how} {pair.train_id} of {train_file}; evaluation needs prompts that were "
            "never trained on: reword or remove one"
        )
    if len(pairs) > PAIRS_SHOWN:
        data.errors.append(f"{eval_file}: … and {len(pairs) - PAIRS_SHOWN} more prompts like prompts of {train_file}")
