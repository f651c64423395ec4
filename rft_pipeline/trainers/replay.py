"""Replays a stored reward batch to TRL's GRPOTrainer.

TRL normally samples and scores itself. Here `rollout_func` returns the stored tokens, and the only reward function
returns the stored advantage.
"""

import math
from collections import Counter
from typing import Any

import polars as pl

from rft_pipeline.errors import GateError
from rft_pipeline.fingerprint import seed_of

_FILLER = "filler:"


def stored_advantage(completions: list[str], advantage: list[float], **_: Any) -> list[float]:
    """The reward function for TRL: the stored advantage."""
    return advantage


def replayed_groups(batch: pl.DataFrame, mask_truncated: bool) -> tuple[list[str], int]:
    """The prompts of groups with variance, and the size of a group. Raises `GateError` if there is none."""
    used: list[str] = batch.filter(_live(mask_truncated))["prompt_id"].unique().to_list()
    if not used:
        cut = " apart from truncated rollouts, which training.mask_truncated leaves out" if mask_truncated else ""
        raise GateError(f"the reward batch has no group with variance{cut}: nothing to learn from")
    return used, batch.filter(prompt_id=used[0]).height


def fillers(groups: int, group_size: int, batch_size: int) -> int:
    """The smallest number of groups to add for whole steps of `batch_size` rollouts."""
    return -groups % (batch_size // math.gcd(group_size, batch_size))


def _live(mask_truncated: bool) -> pl.Expr:
    live = pl.col("excluded").is_null()
    return live & (pl.col("finish_reason") != "length") if mask_truncated else live


class Replay:
    """The `rollout_func` for TRL: returns the stored rollouts, group by group.

    Only groups with variance are replayed. Fully masked copies fill up the last optimiser step. With `mask_truncated`,
    truncated rollouts are fully masked too.
    """

    def __init__(self, batch: pl.DataFrame, batch_size: int, seed: int, mask_truncated: bool = False) -> None:
        batch = batch.with_columns(_live(mask_truncated).alias("live"))
        used, self.group_size = replayed_groups(batch, mask_truncated)
        used.sort(key=lambda prompt_id: seed_of(seed, "training order", prompt_id))
        rows = batch.filter(pl.col("prompt_id").is_in(used)).sort("prompt_id", "sample_index")
        self.rows = {str(key[0]): part.to_dicts() for key, part in rows.group_by("prompt_id", maintain_order=True)}
        copies = fillers(len(used), self.group_size, batch_size)
        self.prompt_order = used + [f"{_FILLER}{used[i % len(used)]}" for i in range(copies)]
        self.calls = 0

    @property
    def size(self) -> int:
        """Rollouts in one pass, including fillers."""
        return len(self.prompt_order) * self.group_size

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        self.calls += 1
        seen: Counter[str] = Counter()
        replayed = []
        for prompt in prompts:
            filler = prompt.startswith(_FILLER)
            row = self.rows[prompt.removeprefix(_FILLER)][seen[prompt] % self.group_size]
            seen[prompt] += 1
            replayed.append((row, row["live"] and not filler, filler))
        return {
            "prompt_ids": [row["prompt_tokens"] for row, *_ in replayed],
            "completion_ids": [row["tokens"] for row, *_ in replayed],
            "logprobs": [row["logprobs"] for row, *_ in replayed],
            "env_mask": [[int(live)] * len(row["tokens"]) for row, live, _ in replayed],
            # truncated rollouts included: TRL subtracts the group's mean, which is 0 only over the whole group
            "advantage": [0.0 if filler else row["advantage"] for row, _, filler in replayed],
        }
