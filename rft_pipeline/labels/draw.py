"""Draws rollouts for people with known probabilities.

Axes: N rollouts, n of them drawn.

Half of the draws are over all rollouts, 30 % over the quarter where the judges are least certain, 20 % over the tenth
with the highest reward, where exploitation of a judge would show. A rollout's inclusion probability (of being drawn at
all) is therefore

    π_i = n · (0.5 / N + 0.3 · [i unsure] / U + 0.2 · [i high] / H)

with U unsure and H high rollouts (without rewards, all count as high). Probabilities above 1 are set to 1, and the
others are scaled so that all sum to n.
The draw is systematic over a shuffled list (Madow 1949): exactly n rollouts, each with exactly its π_i.
"""

import math

import numpy as np
import polars as pl

RANDOM, UNSURE, HIGH = 0.5, 0.3, 0.2
"""Shares of the draws."""
UNSURE_POOL, HIGH_POOL = 0.25, 0.1
"""Shares of the rollouts that count as unsure and as high."""


def with_inclusion(rollouts: pl.DataFrame, n: int) -> pl.DataFrame:
    """Adds `inclusion` to rows with rollout_id, unsure (0 sure … 1) and reward (or null); n ≤ N."""
    pools = [
        (UNSURE, _top(rollouts["rollout_id"], rollouts["unsure"], UNSURE_POOL)),
        (HIGH, _top(rollouts["rollout_id"], rollouts["reward"], HIGH_POOL)),
    ]
    chance_N = np.full(rollouts.height, RANDOM / rollouts.height)
    for share, pool_N in pools:
        chance_N += share * (pool_N / pool_N.sum() if pool_N.any() else 1 / rollouts.height)
    return rollouts.with_columns(pl.Series("inclusion", capped(chance_N, n)))


def capped(chance_N: np.ndarray, n: int) -> np.ndarray:
    """Inclusion probabilities in proportion to `chance_N`, at most 1, that sum to n ≤ N."""
    if n >= len(chance_N):
        return np.ones(len(chance_N))
    inclusion_N: np.ndarray = n * chance_N / chance_N.sum()
    while (over_N := inclusion_N > 1 + 1e-12).any():
        sure_N = over_N | (inclusion_N >= 1)
        inclusion_N[sure_N] = 1.0
        left = n - sure_N.sum()
        inclusion_N[~sure_N] *= left / inclusion_N[~sure_N].sum()
    return inclusion_N.clip(max=1.0)


def drawn(inclusion_N: np.ndarray, seed: int) -> np.ndarray:
    """Indices of the n drawn rollouts, in the order of the draw; n is the sum of the probabilities."""
    random = np.random.default_rng(seed)
    order_N = random.permutation(len(inclusion_N))
    n = round(float(inclusion_N.sum()))
    upto_N = np.cumsum(inclusion_N[order_N])
    upto_N *= n / upto_N[-1]
    found: np.ndarray = order_N[np.searchsorted(upto_N, random.random() + np.arange(n), side="right")]
    return random.permutation(found)


def _top(ids: pl.Series, values: pl.Series, share: float) -> np.ndarray:
    """Marks the share with the highest values; ties are broken by the id (a hash); null is never marked."""
    ranked = pl.DataFrame({"id": ids, "value": values, "place": range(len(ids))}).drop_nulls("value")
    count = max(1, math.floor(share * len(ids)))
    pool_N = np.zeros(len(ids), dtype=bool)
    pool_N[ranked.sort("value", "id", descending=[True, False])["place"].head(count).to_numpy()] = True
    return pool_N
