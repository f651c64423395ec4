"""What an audit asks of order and of authorship: does it matter who is shown first, and who wrote a reply."""

import re

import numpy as np
import polars as pl

from rft_pipeline.audit import Labelled, Order, Resamples, order_of_pairs, order_of_rankings, own_family_gap
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.judges.listwise import place_told
from rft_pipeline.judges.pairwise import orders_told
from rft_pipeline.stats import Interval

_FAMILY = re.compile(r"[a-z]+")


def numbers(column: pl.Series) -> np.ndarray:
    """A column as floats, NaN for null."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def order_of(criterion: Criterion, rows: pl.DataFrame, resamples: Resamples) -> Order | None:
    """How a judge that compares depends on the order it is shown; None for one that does not compare."""
    match criterion.judge.protocol:
        case "pairwise":
            told = [orders_told(reason or "") or (np.nan,) * 4 for reason in rows["reason"]]
            return order_of_pairs(np.array(told, dtype=float).reshape(-1, 4), resamples)
        case "listwise":
            places = [place_told(reason or "") for reason in rows["reason"]]
            place_N = np.array([np.nan if place is None else place for place in places], dtype=float)
            _, group_N = np.unique(rows["messages"].to_numpy(), return_inverse=True)
            return order_of_rankings(group_N, place_N, numbers(rows["score"]), numbers(rows["again"]), resamples)
        case _:
            return None


def family(model: str) -> str:
    """The family of a model by its name: `Qwen/Qwen3-0.6B` is one of `qwen`, as is `qwen2.5:7b`."""
    found = _FAMILY.search(model.rpartition("/")[2].lower())
    return found[0] if found else model


def own_family(
    rows: pl.DataFrame, labelled: Labelled, resamples: Resamples, families: frozenset[str]
) -> Interval | None:
    """How much higher a judge scores its own family at equal label; None where nobody can tell."""
    if not families or rows["by"].null_count() == rows.height:
        return None
    own = [None if by is None else float(family(by) in families) for by in rows["by"]]
    found = own_family_gap(labelled, numbers(pl.Series(own, dtype=pl.Float64)), resamples)
    return None if np.isnan(found.mean) else found
