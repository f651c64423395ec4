"""Scoring: what does the shared prefix save over padded batches of whole sequences, and does it change a score?

Timed are the very calls that the campaign's likelihood judges make, chunk by chunk, for rollouts
sampled beforehand. The plain side puts prefix and continuation of each request into one row, sorts a call's rows by
length, pads them on the right and projects only the end of the batch that holds wanted positions (`logits_to_keep`).
Batch size, model object and number format are the same.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import polars as pl
import torch
import typer
from rich.table import Table

from benchmarks.common import (
    BatchSize,
    CampaignName,
    Dtype,
    DtypeName,
    Goal,
    GroupSize,
    MaxNewTokens,
    ModelName,
    OneEngine,
    Pair,
    PairCount,
    alternate,
    conclude,
    find_campaign,
    generate_requests,
    load_engine,
    machine,
    median_ratio,
    run,
    runtime_of,
    say,
    speed_table,
    train_prompts,
)
from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import transcript
from rft_pipeline.cli import console
from rft_pipeline.engines import ScoreRequest, ScoreResult
from rft_pipeline.engines.base import Messages
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.errors import ConfigError
from rft_pipeline.judges import ClozeJudge, make_judge
from rft_pipeline.judges.likelihood import mean_logprob
from rft_pipeline.rules import Rollout

SPEED_GOAL = 1.6
"""Least ratio of our speed to the padded batches'."""

DIFFERENCE_GOAL = 1e-2
"""Largest difference of a reply's score between the two sides in float32, nats."""

DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16")


@dataclass(frozen=True)
class Call:
    """What a judge asks its engine for at once."""

    requests: tuple[ScoreRequest, ...]
    positives: int
    """How many of a request's candidates are positive words."""

    @property
    def tokens(self) -> int:
        """Tokens of the whole sequences."""
        return sum(len(request.prefix) + len(request.continuation) for request in self.requests)


@dataclass
class Recorder:
    """A scorer that keeps the requests of each call and answers zeros."""

    engine: TransformersEngine
    calls: list[list[ScoreRequest]] = field(default_factory=list)

    @property
    def context(self) -> int:
        return self.engine.context

    def chat_tokens(self, messages: Messages) -> list[int]:
        return self.engine.chat_tokens(messages)

    def text_tokens(self, text: str) -> list[int]:
        return self.engine.text_tokens(text)

    def opening_tokens(self, text: str) -> list[int]:
        return self.engine.opening_tokens(text)

    def reply_tokens(self, reply: str) -> list[int]:
        return self.engine.reply_tokens(reply)

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        self.calls.append(list(requests))
        return [
            ScoreResult([0.0 for _ in wanted_tokens(request)], [0.0 for _ in request.candidates])
            for request in requests
        ]

    def score_parts(self, parts: Iterable[Sequence[ScoreRequest]]) -> Iterator[list[ScoreResult]]:
        return map(self.score, parts)


def scoring(
    campaign_name: CampaignName = "support_reply",
    model: ModelName = "embedded",
    prompts: Annotated[int, typer.Option(min=1, help="Train prompts, from the first, whose rollouts are scored.")] = 16,
    group_size: GroupSize = None,
    batch_size: BatchSize = None,
    max_new_tokens: MaxNewTokens = None,
    dtype: DtypeName = "auto",
    pairs: PairCount = 3,
) -> None:
    """Speed and scores of the likelihood judges with a shared prefix against padded whole sequences."""
    campaign = find_campaign(campaign_name)
    runtime = runtime_of(campaign, batch_size, dtype)
    engine = load_engine(model, runtime)
    chosen = train_prompts(campaign, prompts)
    say("sampling the rollouts")
    rollouts = sample(engine, campaign, chosen, group_size or campaign.rollouts.group_size, max_new_tokens)
    calls = judge_calls(campaign, engine, rollouts)
    timed = time_both(engine, calls, pairs)
    differences = {}
    for other in DTYPES:
        say(f"comparing the scores in {other}")
        judge = engine if other == runtime.dtype else load_engine(model, runtime_of(campaign, batch_size, other))
        differences[other] = largest_differences(judge, calls)
    caption = (
        f"{campaign.name}: {len(rollouts)} rollouts of {chosen.height} prompts, "
        f"{sum(len(call.requests) for call in calls)} requests in {len(calls)} calls, "
        f"{model}, {runtime.dtype}, batches of {engine.batch_size}; {machine(engine)}"
    )
    console.out.print(speed_table("Scoring", caption, ("shared prefix", "padded whole sequences"), timed))
    console.out.print(difference_table(differences))
    conclude(goals(median_ratio(timed), differences))


def time_both(engine: TransformersEngine, calls: Sequence[Call], pairs: int) -> list[Pair]:
    """Both sides on all calls, by turns; the tokens counted are those of the whole sequences, for both."""
    tokens = sum(call.tokens for call in calls)

    def ours(turn: int) -> int:
        for call in calls:
            engine.score(call.requests)
        return tokens

    def plain(turn: int) -> int:
        for call in calls:
            padded_score(engine, call.requests)
        return tokens

    say("one call of each side to warm up")
    engine.score(calls[0].requests)
    padded_score(engine, calls[0].requests)
    return alternate(ours, plain, pairs)


def sample(
    engine: TransformersEngine, campaign: Campaign, prompts: pl.DataFrame, group_size: int, max_new_tokens: int | None
) -> list[Rollout]:
    """`group_size` rollouts of every prompt, ordered by prompt as the pipeline judges them."""
    sampling = campaign.rollouts.sampling
    if max_new_tokens is not None:
        sampling = sampling.model_copy(update={"max_new_tokens": max_new_tokens})
    requests = generate_requests(campaign, prompts, group_size, turn=0)
    drawn = {done.request_id: done for batch in engine.generate(requests, sampling) for done in batch}
    rows = {row["prompt_id"]: row for row in prompts.iter_rows(named=True)}
    rollouts = []
    for request in requests:
        row, done = rows[request.request_id.partition("/")[0]], drawn[request.request_id]
        rollouts.append(Rollout(transcript(row["messages"]), done.text, done.finish_reason, json.loads(row["fields"])))
    return rollouts


def judge_calls(campaign: Campaign, engine: TransformersEngine, rollouts: Sequence[Rollout]) -> list[Call]:
    """The calls of the campaign's likelihood judges. Raises `ConfigError` when the rubric has none."""
    calls = []
    for criterion in campaign.rubric.criteria:
        if criterion.judge.ENGINE == "scorer":
            recorder = Recorder(engine)
            for _ in make_judge(criterion.judge, OneEngine(recorder)).score(rollouts):
                pass
            positives = len(criterion.judge.positive) if isinstance(criterion.judge, ClozeJudge) else 0
            calls += [Call(tuple(requests), positives) for requests in recorder.calls if requests]
    if not calls:
        raise ConfigError(f"{campaign.name}: no criterion is judged by likelihoods; nothing to time")
    return calls


def padded_score(engine: TransformersEngine, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
    """What `TransformersEngine.score` answers, from right-padded batches of whole sequences sorted by length."""
    order = sorted(range(len(requests)), key=lambda i: len(requests[i].prefix) + len(requests[i].continuation))
    results: dict[int, ScoreResult] = {}
    for start in range(0, len(order), engine.batch_size):
        batch = order[start : start + engine.batch_size]
        with torch.inference_mode():
            results.update(zip(batch, _padded_batch(engine, [requests[i] for i in batch]), strict=True))
    return [results[i] for i in range(len(requests))]


def _padded_batch(engine: TransformersEngine, requests: list[ScoreRequest]) -> list[ScoreResult]:
    rows = [[*request.prefix, *request.continuation] for request in requests]
    longest = max(map(len, rows))
    ids_BX = torch.tensor([row + [engine.pad] * (longest - len(row)) for row in rows], device=engine.device)
    mask_BX = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=engine.device)
    starts = [
        len(request.prefix if request.want_tokens else row) - 1 for request, row in zip(requests, rows, strict=True)
    ]
    first = min(starts)
    logits_BTV = engine.model(
        input_ids=ids_BX, attention_mask=mask_BX, logits_to_keep=longest - first, use_cache=False
    ).logits
    results = []
    for logits_TV, request, row, start in zip(logits_BTV, requests, rows, starts, strict=True):
        logprobs_TV = logits_TV[start - first : len(row) - first].float().log_softmax(-1)
        tokens = wanted_tokens(request)
        own_T = logprobs_TV[range(len(tokens)), list(tokens)].tolist()
        results.append(ScoreResult(own_T, logprobs_TV[-1, list(request.candidates)].tolist()))
    return results


def wanted_tokens(request: ScoreRequest) -> tuple[int, ...]:
    """The continuation's tokens whose log-probs are wanted."""
    return request.continuation if request.want_tokens else ()


def largest_differences(engine: TransformersEngine, calls: Sequence[Call]) -> dict[str, float]:
    """The largest difference between both sides of a reply's score, nats, by kind of score."""
    largest: dict[str, float] = {}
    for call in calls:
        both = zip(engine.score(call.requests), padded_score(engine, call.requests), strict=True)
        for request, (ours, plain) in zip(call.requests, both, strict=True):
            kind = "mean token log-prob" if request.want_tokens else "candidate log-odds"
            difference = abs(reply_score(ours, call.positives) - reply_score(plain, call.positives))
            largest[kind] = float(np.maximum(largest.get(kind, 0.0), difference))  # NaN stays NaN
    return largest


def reply_score(result: ScoreResult, positives: int) -> float:
    """Nats: the mean log-prob of the reply's tokens, or the log-odds of the positive words."""
    if result.token_logprobs:
        return mean_logprob(result)
    words = np.array(result.candidate_logprobs)
    return float(np.logaddexp.reduce(words[:positives]) - np.logaddexp.reduce(words[positives:]))


def difference_table(differences: dict[Dtype, dict[str, float]]) -> Table:
    table = Table(title="Largest difference of a reply's score, nats")
    table.add_column("")
    for dtype in DTYPES:
        table.add_column(dtype, justify="right")
    for kind in differences[DTYPES[0]]:
        table.add_row(kind, *(f"{differences[dtype][kind]:.1e}" for dtype in DTYPES))
    return table


def goals(ratio: float, differences: dict[Dtype, dict[str, float]]) -> list[Goal]:
    speed = Goal(
        "shared prefix to padded, speed, median of the pairs", f"{ratio:.2f}", f"≥ {SPEED_GOAL}", ratio >= SPEED_GOAL
    )
    worst = float(np.max(list(differences["float32"].values())))
    exact = Goal(
        "largest difference in float32, nats", f"{worst:.1e}", f"≤ {DIFFERENCE_GOAL:.0e}", worst <= DIFFERENCE_GOAL
    )
    return [speed, exact]


if __name__ == "__main__":
    run(scoring)
