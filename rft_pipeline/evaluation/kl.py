"""KL(policy ‖ base) of whole replies, in nats, estimated on replies that the policy drew at temperature 1 without
truncation. Such replies are drawn for it alone where the evaluation samples otherwise (`addresses.kl_draw`).
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
"""The replies that each round's KL to base is estimated on, and what each says of it, in nats; rounds that hold base's
weights have none."""
KL_FILE = "kl.parquet"


def kl_of(rows: pl.DataFrame, round_: int, resamples: int, seed: int) -> Interval | None:
    """A round's KL to base in nats per reply, with its interval over prompts; None where it was not estimated."""
    here = rows.filter(round=round_).drop_nulls("kl")
    if here.is_empty():
        return None
    named = seed_of(seed, "kl", round_)
    return clustered_mean(here["kl"].to_numpy(), here["prompt_id"].to_numpy(), resamples, named)


def sequence_kl(rows: pl.DataFrame, base: Callable[[], Scorer]) -> pl.DataFrame:
    """rollout_id and `kl`: Σ over T of log-prob under the policy that drew the reply minus that under base, in nats.

    `rows` must be drawn at temperature 1 without truncation: then the mean over them is an unbiased estimate of
    KL(policy ‖ base) of a reply up to the token limit. A single reply's value may be below 0. Replies without tokens or
    log-probs are left out. `base` is loaded when something is to score.
    """
    told = rows.filter(
        (pl.col("tokens").list.len() > 0) & (pl.col("logprobs").list.len() == pl.col("tokens").list.len())
    )
    requests = [
        ScoreRequest(tuple(prompt), tuple(tokens))
        for prompt, tokens in told.select("prompt_tokens", "tokens").iter_rows()
    ]
    results = base().score(requests) if requests else []
    kl = [
        sum(own) - sum(result.token_logprobs) for own, result in zip(told["logprobs"].to_list(), results, strict=True)
    ]
    return told.select("rollout_id", pl.Series("kl", kl, pl.Float64))
