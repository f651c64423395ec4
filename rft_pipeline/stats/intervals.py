"""A mean with its interval, as a value and as plain data; and two measures of diversity."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rft_pipeline.rules.words import words


class Interval(NamedTuple):
    """A mean and its interval: 95 %, unless the function that made it was given another `error`. NaN is unknown."""

    mean: float
    lower95: float = float("nan")
    upper95: float = float("nan")


UNKNOWN = Interval(float("nan"))


def null_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def plain(value: Any) -> Any:
    """As JSON holds it: named tuples as objects, null where a number is NaN."""
    if hasattr(value, "_asdict"):
        return {name: plain(each) for name, each in value._asdict().items()}
    return null_if_nan(value) if isinstance(value, float) else value


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Distinct n-grams of words as a share of all n-grams in `texts`, in (0, 1]; NaN without n-grams.

    After Li et al. 2016 (arXiv 1510.03055). Falls with the amount of text: compare sets of equal size.
    """
    grams = [gram for text in texts for gram in _ngrams(text, n)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def repetition(text: str, n: int = 3) -> float:
    """Share of the n-grams of words in `text` that repeat an earlier one, in [0, 1); 0 without n-grams."""
    grams = list(_ngrams(text, n))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _ngrams(text: str, n: int) -> Iterator[tuple[str, ...]]:
    tokens = words(text.lower())
    return zip(*(tokens[start:] for start in range(n)), strict=False)
