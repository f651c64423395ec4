"""The numbers of an eval report: what each round changed on held-out prompts.

Every mean has a prompt-clustered 95 % interval, and every change from the baseline (base, the warm start, or a cycle's
start) is paired by prompt. An unknown number (nothing scored, or only one prompt) is null.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from rft_pipeline.campaign.addresses import readable_prompt
from rft_pipeline.errors import DataError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.stats import (
    clustered_mean,
    distinct_n,
    means_by_prompt,
    null_if_nan,
    paired_difference,
    plain,
    repetition,
)
from rft_pipeline.store.rows import ANSWER_TOKENS

EXAMPLES = 5
"""Number of examples of each kind."""


def round_name(number: int, first: str = "base") -> str:
    """`round 2`; `first` is the name of round 0."""
    return first if number == 0 else f"round {number}"


@dataclass(frozen=True)
class RoundRows:
    """The scored replies of one policy to the held-out prompts."""

    round: int
    """0 is the baseline."""
    policy: str
    rows: pl.DataFrame
    """prompt_id, sample_index, messages (JSON), completion, finish_reason, tokens, thought_tokens, scores (struct by
    criterion, null when unscored), gated, reward (in [0, 1] or null)."""
    called: str = ""
    """Its name, if it is no round: `base`, `start` or `warm start`."""

    @property
    def name(self) -> str:
        return self.called or round_name(self.round)


def compare_rounds(
    rounds: Sequence[RoundRows],
    judged: Sequence[str],
    resamples: int,
    seed: int,
    gates: Mapping[str, float] | None = None,
    other: RoundRows | None = None,
) -> dict[str, Any]:
    """Compare every round with the baseline, as plain data.

    `judged` names the criteria with a model judge, `gates` holds the thresholds of gates, `other` is a policy that is
    no round and not the baseline. Returns `rounds` in order (each with name, reward, criteria, gated, the lengths of
    answers and thoughts in tokens, truncated, distinct2, repetition, and `delta` and `criteria_delta`, round minus
    baseline, null for the baseline);
    `other` with the same, or null; `delta` of the last round; and `examples`, the prompts whose first reply gained or
    lost most reward between the baseline and the last round.

    Raises `DataError` unless the rounds start with the baseline, rise, and have the same prompts and criteria.
    """
    names = _check([*rounds, *([] if other is None else [replace(other, round=rounds[-1].round + 1)])])
    base, last = rounds[0], rounds[-1]
    compared = [_summary(current, base, names, resamples, seed) for current in rounds]
    return {
        "rounds": compared,
        "other": None if other is None else _summary(other, base, names, resamples, seed),
        "delta": compared[-1]["delta"],
        "judged": list(judged),
        "gates": dict(gates or {}),
        "examples": [] if last is base else _examples(base, last.rows),
    }


def _check(rounds: Sequence[RoundRows]) -> list[str]:
    """Check that the rounds are comparable; returns the criteria's names."""
    numbers = [current.round for current in rounds]
    if not numbers or numbers[0] != 0 or any(later <= earlier for earlier, later in pairwise(numbers)):
        raise DataError(f"rounds to compare are {numbers}: they must start with 0 (the baseline) and rise")
    prompts = set(rounds[0].rows["prompt_id"])
    names = _criteria(rounds[0].rows)
    if not prompts:
        raise DataError("round 0: no replies to compare with; there are no held-out prompts")
    for current in rounds[1:]:
        if differing := prompts ^ set(current.rows["prompt_id"]):
            shown = ", ".join(sorted(differing)[:3])
            raise DataError(
                f"round {current.round}: {len(differing)} prompts differ from those of base (e.g. {shown}); "
                "evaluate every round on the same held-out prompts"
            )
        if (found := _criteria(current.rows)) != names:
            raise DataError(
                f"round {current.round}: criteria {found}, base has {names}; judge all rounds with the same rubric"
            )
    return names


def _criteria(rows: pl.DataFrame) -> list[str]:
    return list(rows["scores"].struct.fields)


def _summary(current: RoundRows, base: RoundRows, names: list[str], resamples: int, seed: int) -> dict[str, Any]:
    rows = current.rows
    tokens_N = rows.select(ANSWER_TOKENS).to_series().to_numpy()
    scores = {name: pl.col("scores").struct.field(name) for name in names}

    def mean(what: pl.Expr, *purpose: str) -> Any:
        value_N = rows.select(what.cast(pl.Float64)).to_series().to_numpy()
        named = seed_of(seed, *purpose, current.round)
        return plain(clustered_mean(value_N, rows["prompt_id"].to_numpy(), resamples, named))

    def change(what: pl.Expr, *purpose: str) -> Any:
        ours, theirs = (means_by_prompt(each, what) for each in (rows, base.rows))
        return plain(paired_difference(ours, theirs, resamples, seed_of(seed, *purpose, current.round)))

    is_base = current is base
    reward = mean(pl.col("reward"), "reward")
    return {
        "round": current.round,
        "name": current.name,
        "policy": current.policy,
        "reward": reward["mean"],
        "lower95": reward["lower95"],
        "upper95": reward["upper95"],
        "criteria": {
            name: {
                **mean(score, "criterion", name),
                "unscored": rows["scores"].struct.field(name).null_count() / rows.height,
            }
            for name, score in scores.items()
        },
        "delta": None if is_base else change(pl.col("reward"), "delta"),
        "criteria_delta": None
        if is_base
        else {name: change(score, "criterion delta", name) for name, score in scores.items()},
        "gated": _share(rows["gated"]),
        "length": {"mean": float(tokens_N.mean()), "p95": float(np.percentile(tokens_N, 95))},
        "thought_length": {"mean": float(rows.select(pl.col("thought_tokens").mean()).item())},
        "truncated": _share(rows["finish_reason"] == "length"),
        "distinct2": null_if_nan(distinct_n(rows["completion"].to_list(), 2)),
        "repetition": float(np.mean([repetition(text) for text in rows["completion"]])),
    }


def in_order(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All policies of a report in the order in which they were made: base, the warm start, the rounds."""
    rows: list[dict[str, Any]] = list(report["rounds"])
    if (other := report["other"]) is not None:
        rows.insert(0 if other["name"] == "base" else 1, other)
    return rows


def _share(flags: pl.Series) -> float:
    return int(flags.sum()) / len(flags)


def _examples(base: RoundRows, tuned: pl.DataFrame) -> list[dict[str, Any]]:
    """The largest gains, then the largest losses; no prompt twice."""
    columns = ["prompt_id", "messages", "completion", "reward", "scores"]
    first = [rows.filter(pl.col("sample_index") == 0).select(columns) for rows in (base.rows, tuned)]
    pairs = (
        first[0]
        .join(first[1], on="prompt_id", suffix="_tuned")
        .with_columns((pl.col("reward_tuned") - pl.col("reward")).alias("difference"))
        .drop_nulls("difference")
        .sort(["difference", "prompt_id"], descending=[True, False])
    )
    gains = min(EXAMPLES, (pairs.height + 1) // 2)
    losses = min(EXAMPLES, pairs.height - gains)
    found = [_example("gain", row) for row in pairs.head(gains).iter_rows(named=True)] + [
        _example("loss", row) for row in pairs.tail(losses).reverse().iter_rows(named=True)
    ]
    return [{**each, "base_name": base.name} for each in found]


def _example(kind: str, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": kind,
        "prompt": readable_prompt(row["messages"]),
        "difference": row["difference"],
        "base": {"completion": row["completion"], "reward": row["reward"], "scores": row["scores"]},
        "tuned": {
            "completion": row["completion_tuned"],
            "reward": row["reward_tuned"],
            "scores": row["scores_tuned"],
        },
    }
