"""The rows of the tables: their columns and their keys."""

import polars as pl

from rft_pipeline.fingerprint import fingerprint

ROLLOUTS = pl.Schema(
    [
        ("rollout_id", pl.String()),
        ("policy", pl.String()),
        ("prompt_id", pl.String()),
        ("sampling", pl.String()),
        ("sample_index", pl.Int64()),
        ("prompt_tokens", pl.List(pl.Int64())),
        ("tokens", pl.List(pl.Int64())),
        ("logprobs", pl.List(pl.Float64())),
        ("completion", pl.String()),
        ("thought", pl.String()),
        ("thought_tokens", pl.Int64()),
        ("finish_reason", pl.String()),
    ]
)
"""`completion` is the reply as judges and people see it. `thought` is what a reasoning model wrote before it, and
`thought_tokens` how many of the first `tokens` that takes, with its tags; empty and 0 without a thought."""
ENVIRONMENT = "environment"
"""A column that only replayed rollouts have: the positions of their tokens that an environment wrote."""
ANSWER_TOKENS = pl.col("tokens").list.len().cast(pl.Int64) - pl.col("thought_tokens")
"""The length of a rollout's answer in tokens."""
JUDGEMENTS = pl.Schema(
    [
        ("judgement_id", pl.String()),
        ("criterion", pl.String()),
        ("judge", pl.String()),
        ("subject", pl.String()),
        ("score", pl.Float64()),
        ("measured", pl.Float64()),
        ("status", pl.String()),
        ("raw", pl.String()),
        ("reason", pl.String()),
        ("tokens", pl.Int64()),
        ("tokens_out", pl.Int64()),
        ("cost", pl.Float64()),
        ("details", pl.String()),
    ]
)
"""`measured` is the number (nats, a reward) that the criterion's squash turns into the score; then `score` is null.
`details` is a JSON object with the numbers that a judge that compares found; null where there are none."""
LABELS = pl.Schema(
    [
        ("label_id", pl.String()),
        ("rollout_id", pl.String()),
        ("prompt_id", pl.String()),
        ("criterion", pl.String()),
        ("value", pl.Float64()),
        ("annotator", pl.String()),
        ("note", pl.String()),
        ("split", pl.String()),
        ("inclusion", pl.Float64()),
        ("batch", pl.String()),
        ("created", pl.String()),
    ]
)
"""Labels by people. `criterion` is its name, `split` is calibration or audit, `inclusion` is the probability with which
the export `batch` drew the rollout."""
PREFERENCES = pl.Schema(
    [
        ("preference_id", pl.String()),
        ("pair_id", pl.String()),
        ("prompt_id", pl.String()),
        ("left", pl.String()),
        ("right", pl.String()),
        ("preferred", pl.String()),
        ("annotator", pl.String()),
        ("note", pl.String()),
        ("batch", pl.String()),
        ("created", pl.String()),
    ]
)
"""People's answers to blind pairs. `left` and `right` are the rollouts as the export `batch` showed them, and
`preferred` is left, right or tie."""


def rollout_id(policy: str, prompt_id: str, sampling: str, sample_index: int) -> str:
    """The key of a rollout, known before it is sampled."""
    return fingerprint([policy, prompt_id, sampling, sample_index])


def judgement_id(criterion: str, judge: str, subject: str) -> str:
    """The key of a judgement: criterion, judge, and what the judge sees."""
    return fingerprint([criterion, judge, subject])


def label_id(rollout_id: str, criterion: str, annotator: str) -> str:
    """The key of a label. A new label by the same annotator replaces the old one."""
    return fingerprint([rollout_id, criterion, annotator])


def pair_id(rollout: str, other: str) -> str:
    """The key of a pair of rollouts, in either order."""
    return fingerprint(sorted([rollout, other]))


def preference_id(campaign: str, pair_id: str, annotator: str) -> str:
    """The key of an answer. A new answer by the same annotator in the same campaign replaces the old one."""
    return fingerprint([campaign, pair_id, annotator])


def judged_by(criterion: str, judge: str) -> tuple[pl.Expr, pl.Expr]:
    """Filters for the judgements of one criterion by one judge."""
    return pl.col("criterion") == criterion, pl.col("judge") == judge
