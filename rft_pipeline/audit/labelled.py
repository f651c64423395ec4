"""The input of an audit: one criterion's scores and people's labels."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Labelled:
    """One criterion's scores of N labelled anchors.

    Labels are from 0 to `highest`: 0 and 1, or grades; the mean of several people's labels. Scores are in [0, 1]; NaN
    is unscored.
    """

    prompt_N: np.ndarray
    label_N: np.ndarray
    score_N: np.ndarray
    highest: int = 1

    def __post_init__(self) -> None:
        if not len(self.prompt_N) == len(self.label_N) == len(self.score_N):
            raise ValueError(
                f"{len(self.prompt_N)} prompts, {len(self.label_N)} labels and {len(self.score_N)} scores: "
                "each anchor needs one of each"
            )
        if self.label_N.size and not 0 <= self.label_N.min() <= self.label_N.max() <= self.highest:
            raise ValueError(f"labels from {self.label_N.min()} to {self.label_N.max()}; allowed: 0 to {self.highest}")

    @classmethod
    def of(cls, rows: pl.DataFrame, highest: int = 1) -> "Labelled":
        """From the columns prompt_id, label and score (null when unscored); rows without a label are left out."""
        rows = rows.drop_nulls("label")
        score_N = rows["score"].cast(pl.Float64).to_numpy()
        return cls(rows["prompt_id"].to_numpy(), rows["label"].to_numpy(), score_N, highest)

    @property
    def share_N(self) -> np.ndarray:
        """Labels scaled to [0, 1]."""
        return np.asarray(self.label_N / self.highest)

    @property
    def whole_N(self) -> np.ndarray:
        """Labels rounded to integers, halves up."""
        return np.floor(self.label_N + 0.5).astype(np.int64)

    @property
    def grade_N(self) -> np.ndarray:
        """Scores on the scale of the labels, rounded to integers, halves up. Only if all are scored."""
        return np.floor(self.score_N * self.highest + 0.5).astype(np.int64)

    @property
    def good_N(self) -> np.ndarray:
        """Whether the label is in the upper half of the scale."""
        return np.asarray(self.share_N >= 0.5)

    @property
    def unscored_N(self) -> np.ndarray:
        return np.asarray(np.isnan(self.score_N))

    @property
    def scored(self) -> "Labelled":
        """The anchors that have a score."""
        return self.take(~self.unscored_N)

    def take(self, which_N: np.ndarray) -> "Labelled":
        return replace(
            self, prompt_N=self.prompt_N[which_N], label_N=self.label_N[which_N], score_N=self.score_N[which_N]
        )
