"""Effects of the order shown and of the author, from the rows of an audit."""

import json
import re

import numpy as np
import polars as pl

from rft_pipeline.audit.bias import own_family_gap
from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.stability import Order, order_of_pairs, order_of_rankings
from rft_pipeline.stats import Interval, Resamples

_FAMILY = re.compile(r"[a-z]+")


def order_of(rows: pl.DataFrame, resamples: Resamples) -> Order | None:
    """The effect of the order shown on a judge that compares; None for other judges."""
    details = [json.loads(text) if text else {} for text in rows["details"]]
    if any("pairs" in each for each in details):
        columns = ("pairs", "changed", "first_won", "second_won")
        count_NX = np.array([[each.get(name, np.nan) for name in columns] for each in details], dtype=float)
        return order_of_pairs(count_NX, resamples)
    if any("shown_at" in each for each in details):
        place_N = np.array([each.get("shown_at", np.nan) for each in details], dtype=float)
        _, group_N = np.unique(rows["messages"].to_numpy(), return_inverse=True)
        score_N, retest_N = (rows[name].cast(pl.Float64).to_numpy() for name in ("score", "retest_score"))
        return order_of_rankings(group_N, place_N, score_N, retest_N, resamples)
    return None


def family(model: str) -> str:
    """The family in a model's name: `qwen` for both `Qwen/Qwen3-0.6B` and `qwen2.5:7b`."""
    found = _FAMILY.search(model.rpartition("/")[2].lower())
    return found[0] if found else model


def own_family(
    rows: pl.DataFrame, labelled: Labelled, resamples: Resamples, families: frozenset[str]
) -> Interval | None:
    """How much higher a judge scores its own family at equal labels; None if unknown."""
    if not families or rows["by"].null_count() == rows.height:
        return None
    own = [None if by is None else float(family(by) in families) for by in rows["by"]]
    found = own_family_gap(labelled, np.array(own, dtype=float), resamples)
    return None if np.isnan(found.mean) else found
