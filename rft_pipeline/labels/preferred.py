"""People's preferred replies to train prompts, as references of a warm start."""

from collections import defaultdict
from pathlib import Path

import polars as pl

from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.pairs import LEFT, RIGHT, pair_exports_of, pair_rows
from rft_pipeline.store import preferences_table

PREFERRED = "preferred"
"""The value of `training.warm_start.references` for these replies, and the name of their source."""


def preferred_replies(campaign: str, store: Path) -> dict[str, str]:
    """prompt_id → the reply that people prefer, from their answers to pairs of train prompts.

    Each answer counts +1 for one reply and −1 for the other. The reply with the largest sum is preferred if the sum is
    above 0; of equal ones, the first in the alphabet. Answers about held-out prompts never count: a policy that
    imitates them cannot be evaluated on them.
    """
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for export in pair_exports_of(campaign, store, held_out=False):
        votes = preferences_table(store).rows(pl.col("batch") == export.id).select("pair_id", "preferred").collect()
        pairs = pair_rows(export, store).select("pair_id", "prompt_id", "left_reply", "right_reply")
        for preferred, prompt, left, right in votes.join(pairs, on="pair_id").drop("pair_id").iter_rows():
            if preferred in (LEFT, RIGHT):
                sums[prompt][left] += 1 if preferred == LEFT else -1
                sums[prompt][right] += 1 if preferred == RIGHT else -1
    best = {prompt: min((-total, reply) for reply, total in each.items()) for prompt, each in sums.items()}
    return {prompt: reply for prompt, (total, reply) in sorted(best.items()) if total < 0 and reply.strip()}


def preferred_source(campaign: str, store: Path) -> str | None:
    """A hash of people's preferred replies; None without any."""
    found = preferred_replies(campaign, store)
    return fingerprint(found) if found else None
