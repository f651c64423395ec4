"""KL(policy ‖ base) of whole replies, in nats, estimated on replies sampled at temperature 1 without truncation.

If the evaluation samples differently, extra replies are sampled for it (`addresses.kl_draw`).
"""

from collections.abc import Callable

import polars as pl

from rft_pipeline.engines import Scorer
from rft_pipeline.engines.base import ScoreRequest
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.stats import Interval, clustered_mean

KL = pl.Schema(
    {
        "rollout_id": pl.String(),
        "round": pl.Int64(),
        "policy": pl.String(),
        "prompt_id": pl.String(),
        "completion": pl.String(),
        "tokens": pl.List(pl.Int64()),
        "kl": pl.Float64(),
    }
)
"""The replies that each round's KL to base is estimated on, with log p(policy) − log p(base) of each, in nats; none for
rounds with base's weights."""
KL_FILE = "kl.parquet"


def kl_of(rows: pl.DataFrame, round_: int, resamples: int, seed: int) -> Interval | None:
    """A round's KL to base in nats per reply, with its interval over prompts; None if it was not estimated."""
    here = rows.filter(round=round_).drop_nulls("kl")
    if here.is_empty():
        return None
    named = seed_of(seed, "kl", round_)
    return clustered_mean(here["kl"].to_numpy(), here["prompt_id"].to_numpy(), resamples, named)


def sequence_kl(rows: pl.DataFrame, base: Callable[[], Scorer]) -> pl.DataFrame:
    """rollout_id and `kl`: Σ over T of the policy's log-prob minus base's, in nats.

    `rows` must be sampled at temperature 1 without truncation: then their mean is an unbiased estimate of
    KL(policy ‖ base) of a reply up to the token limit. A single reply's value may be negative. Replies without tokens
    or log-probs are left out. `base` is loaded only if there is something to score.
    """
    usable = rows.filter(
        (pl.col("tokens").list.len() > 0) & (pl.col("logprobs").list.len() == pl.col("tokens").list.len())
    )
    requests = [
        ScoreRequest(tuple(prompt), tuple(tokens))
        for prompt, tokens in usable.select("prompt_tokens", "tokens").iter_rows()
    ]
    results = base().score(requests) if requests else []
    kl = [
        sum(own) - sum(result.token_logprobs) for own, result in zip(usable["logprobs"].to_list(), results, strict=True)
    ]
    return usable.select("rollout_id", pl.Series("kl", kl, pl.Float64))
