"""The pairs that people decided: which of two replies most of them prefer.

The audit compares the order of the judges' scores with them. `dpo` trains on those of train prompts.
"""

from pathlib import Path

import polars as pl

from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.pairs import LEFT, RIGHT, pair_exports_of, pair_rows
from rft_pipeline.labels.preferences import majority
from rft_pipeline.store import preferences_table

DECIDED = "labels.pairs"
"""Name of the source with all decided pairs."""
TRAIN_PAIRS = "labels.train_pairs"
"""Name of the source with the decided pairs of train prompts."""
DECIDED_PAIRS = pl.Schema(
    dict.fromkeys(
        (
            "pair_id",
            "prompt_id",
            "messages",
            "fields",
            "better",
            "worse",
            "better_reply",
            "worse_reply",
            "better_finish_reason",
            "worse_finish_reason",
        ),
        pl.String(),
    )
)
"""A row per pair: `better` and `worse` are the rollouts, the columns after them what judges see of their replies."""


def decided_pairs(campaign: str, store: Path, *, held_out: bool | None = None) -> pl.DataFrame:
    """The pairs that people decided, ordered by id, with the columns of `DECIDED_PAIRS`; all, or those of held-out or
    of train prompts.

    Each person has one vote for a pair, and the majority decides. A pair that most people call a tie, or without a
    majority, is not decided.
    """
    exports = pair_exports_of(campaign, store, held_out=held_out)
    if not exports:
        return DECIDED_PAIRS.to_frame()
    shown = pl.concat([pair_rows(export, store) for export in exports]).unique("pair_id").sort("pair_id")
    votes = preferences_table(store).rows(pl.col("batch").is_in([export.id for export in exports])).collect()
    # another export may show the same pair the other way round, so votes are for rollouts
    chosen = pl.when(preferred=LEFT).then(LEFT).when(preferred=RIGHT).then(RIGHT).alias("chosen")
    both = shown.join(votes.select("pair_id", chosen), on="pair_id")
    signs = both.with_columns((pl.col("chosen").eq(pl.col(LEFT)).cast(pl.Int64) * 2 - 1).fill_null(0).alias("sign"))
    by_pair = signs.group_by("pair_id").agg("sign")
    sums = {pair: majority(each) for pair, each in by_pair.iter_rows()}
    rows = shown.with_columns(pl.Series("sign", [sums.get(pair, 0) for pair in shown["pair_id"]]))
    return rows.filter(pl.col("sign") != 0).select(
        "pair_id",
        "prompt_id",
        "messages",
        "fields",
        *(
            pl.when(pl.col("sign") == sign).then(f"{LEFT}{end}").otherwise(f"{RIGHT}{end}").alias(f"{name}{end}")
            for end in ("", "_reply", "_finish_reason")
            for name, sign in (("better", 1), ("worse", -1))
        ),
    )


def decided_source(campaign: str, store: Path, *, held_out: bool | None = None) -> str | None:
    """A hash of the decided pairs; None without any."""
    found = decided_pairs(campaign, store, held_out=held_out)
    return None if found.is_empty() else fingerprint(found.select("better", "worse").rows())
