"""Methods: what does each way of training make of the same rollouts, and what would no training at all?

A round in generations is compared with TRL's own online `GRPOTrainer`, which samples while it trains, with the same
judge, prompts and number of rollouts. Further rows: the untrained policy; grpo, raft and dpo on one batch of the same
prompts that was sampled at once; and best-of-n (the untrained policy answers every held-out prompt n times and the
judge picks: as many rollouts a prompt as training drew). All answer the same held-out prompts and are judged by
the same rubric.

Best-of-n is flattered: its replies are picked by the very scores that are reported.
"""

import math
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean
from typing import Annotated, NamedTuple

import numpy as np
import polars as pl
import typer
from rich.table import Table

from benchmarks.common import CampaignName, Goal, conclude, find_campaign, run, say
from benchmarks.online import refuse_what_differs, train_online
from benchmarks.partial import Subject
from rft_pipeline import models
from rft_pipeline.campaign import Campaign, Sampling, load_campaign
from rft_pipeline.campaign.addresses import with_prompts
from rft_pipeline.cli import console
from rft_pipeline.engines import ScoreRequest
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.progress import Progress
from rft_pipeline.prompts.reading import read_prompts
from rft_pipeline.rewards.batch import make_batch
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.stages.judging import judging
from rft_pipeline.stages.sampling import sample_rollouts
from rft_pipeline.stats import Interval, clustered_mean, paired_difference
from rft_pipeline.store import Home, judgements_table, rollouts_table

METHODS = ("grpo", "raft", "dpo")
OURS, ONLINE = "our round, in generations", "TRL's online GRPO"
GAIN_GOAL, TIME_GOAL = 1.2, 0.4
SHARED = ("rollouts", "judge_scores", "reward_batches")


class Result(NamedTuple):
    """How a policy answers the held-out prompts, and what it took to make it."""

    reward: Interval
    gain: Interval | None
    """Minus the untrained policy's, paired by prompt."""
    kl: float
    """KL to the untrained policy, in nats per reply; of best-of-n its bound."""
    length: float
    """Tokens."""
    seconds: float
    """Sampling, judging and training; of best-of-n its sampling and judging."""


class Bench:
    """Answers held-out prompts and judges them."""

    def __init__(self, campaign: Campaign, home: Home) -> None:
        self.campaign, self.home = campaign, home
        self.base = models.resolve(campaign.policy.model, home.models, campaign.folder).folder
        self.prompts = read_prompts(campaign).rows.filter(split="eval")
        self.sources = source_hashes(campaign, home, fetch=False)
        self.judges = JudgeEngines(campaign, home.models, self.sources)

    def answers(self, folder: Path, count: int) -> pl.DataFrame:
        """`count` judged replies of a policy to every held-out prompt."""
        return self.judged(with_prompts(self._drawn(folder, count, self.campaign.evaluation.sampling), self.prompts))

    def _drawn(self, folder: Path, count: int, sampling: Sampling) -> pl.DataFrame:
        with closing(TransformersEngine(folder, self.campaign.evaluation.runtime)) as engine:
            rows, _ = sample_rollouts(
                prompts=self.prompts,
                policy=models.content_hash(folder),
                group_size=count,
                sampling=sampling,
                system=self.campaign.policy.system,
                seed=self.campaign.seed,
                table=rollouts_table(self.home.store),
                engine=lambda: engine,
                progress=Progress("held out"),
                system_in=self.campaign.policy.system_in,
                thinking=self.campaign.policy.thinking,
            )
        return rows

    def judged(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Replies with their rewards."""
        rubric = self.campaign.rubric
        with judging(
            rollouts=rows,
            criteria=sorted(rubric.criteria, key=lambda criterion: criterion.name),
            judges=self.sources,
            table=judgements_table(self.home.store),
            engines=self.judges,
            progress=Progress("judging"),
            served=self.campaign.served_judges,
        ) as judged:
            scores, _ = judged()
        return make_batch(rows, scores, rubric.weights(), rubric.gates(), self.campaign.reward).rows

    def kl(self, folder: Path) -> float:
        """KL of a policy to the untrained one, in nats per reply, over one reply to each held-out prompt that it draws
        at temperature 1 without truncation."""
        rows = self._drawn(folder, 1, self.campaign.evaluation.kl_sampling)
        requests = [
            ScoreRequest(tuple(row["prompt_tokens"]), tuple(row["tokens"])) for row in rows.iter_rows(named=True)
        ]
        with closing(TransformersEngine(self.base, self.campaign.evaluation.runtime)) as engine:
            scored = engine.score(requests)
        own = [sum(logprobs) for logprobs in rows["logprobs"]]
        return float(np.mean([mine - sum(base.token_logprobs) for mine, base in zip(own, scored, strict=True)]))

    def result(self, rows: pl.DataFrame, base: pl.DataFrame | None, kl: float, seconds: float) -> Result:
        resamples, seed = self.campaign.evaluation.resamples, self.campaign.seed
        scored = rows.drop_nulls("reward")
        reward = clustered_mean(scored["reward"].to_numpy(), scored["prompt_id"].to_numpy(), resamples, seed)
        gain = None if base is None else paired_difference(_by_prompt(rows), _by_prompt(base), resamples, seed)
        length = rows.select(pl.col("tokens").list.len().cast(pl.Float64).mean()).item()
        return Result(reward, gain, kl, float(length), seconds)


def methods(
    campaign: CampaignName = "support_reply",
    prompts: Annotated[
        int | None, typer.Option(min=2, help="Prompts of the round; eval prompts go down with them.")
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(min=0, help="The campaign's seed; may be repeated.", show_default="the campaign's"),
    ] = None,
    only_online: Annotated[bool, typer.Option(help="Only our round and TRL's online trainer.")] = False,
) -> None:
    """Held-out reward, KL, length and seconds of each method at equal rollouts."""
    found = find_campaign(campaign)
    pairs = []
    for each in seed or [found.seed]:
        results = _of_seed(found, prompts, each, only_online)
        console.out.print(as_table(f"{campaign}, seed {each}", results))
        pairs.append((results[OURS], results[ONLINE]))
    conclude(goals(pairs))


def _of_seed(campaign: Campaign, prompts: int | None, seed: int, only_online: bool) -> dict[str, Result]:
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as scratch:
        subject = Subject(campaign, Path(scratch), prompts)
        subject.edit("campaign.yaml", lambda settings: settings.update(seed=seed, audit=None, alarms=None))
        loaded = load_campaign(subject.folder)
        refuse_what_differs(loaded)
        bench, pipeline = Bench(loaded, subject.home), Pipeline(subject.home)
        for name in ("prompts", "rubric", "policy"):
            pipeline.run(loaded, name)
        samples = loaded.evaluation.samples_per_prompt
        began = time.monotonic()
        base = bench.answers(bench.base, samples)
        first = time.monotonic() - began  # these replies are the first of best-of-n's too
        results["no training"] = bench.result(base, None, 0.0, 0.0)
        results[OURS] = _round(bench, subject, pipeline, base, samples)
        results[ONLINE] = _online(bench, subject, base, samples)
        if not only_online:
            results |= _at_once(bench, subject, pipeline, base, samples)
            results |= _best_of_n(bench, base, loaded.rollouts.group_size, first)
        bench.judges.close()
    return results


def _round(bench: Bench, subject: Subject, pipeline: Pipeline, base: pl.DataFrame, samples: int) -> Result:
    """A round in generations."""
    began = time.monotonic()
    record = pipeline.run(bench.campaign, "round_1/checkpoints")
    seconds = time.monotonic() - began
    say(f"our round: {seconds:.0f} s")
    rows = bench.answers(record.path("checkpoint"), samples)
    return bench.result(rows, base, bench.kl(record.path("checkpoint")), seconds)


def _online(bench: Bench, subject: Subject, base: pl.DataFrame, samples: int) -> Result:
    chosen = pl.read_parquet(_record(subject, "rollouts")).unique("prompt_id", maintain_order=True)
    began = time.monotonic()
    folder = train_online(bench.campaign, bench.base, chosen, bench.judged, subject.home.root / "online")
    seconds = time.monotonic() - began
    say(f"TRL's online trainer: {seconds:.0f} s")
    rows = bench.answers(folder, samples)
    return bench.result(rows, base, bench.kl(folder), seconds)


def _at_once(bench: Bench, subject: Subject, pipeline: Pipeline, base: pl.DataFrame, samples: int) -> dict[str, Result]:
    """The methods on one batch that was sampled before the first step."""
    subject.edit("campaign.yaml", lambda settings: settings["training"].update(steps_per_generation=None))
    made = [pipeline.run(load_campaign(subject.folder), f"round_1/{stage}") for stage in SHARED]
    shared = sum(record.seconds for record in made)
    results = {}
    for method in METHODS:
        subject.edit("campaign.yaml", lambda settings, m=method: settings["training"].update(method=m))  # type: ignore[misc]
        record = pipeline.run(load_campaign(subject.folder), "round_1/checkpoints")
        rows = bench.answers(record.path("checkpoint"), samples)
        kl = bench.kl(record.path("checkpoint"))
        results[f"{method}, the round at once"] = bench.result(rows, base, kl, shared + record.seconds)
        say(f"{method}: {results[f'{method}, the round at once'].reward.mean:.3f}")
    return results


def _best_of_n(bench: Bench, base: pl.DataFrame, count: int, first: float) -> dict[str, Result]:
    began = time.monotonic()
    best = _best(bench.answers(bench.base, count))
    bound = math.log(count) - (count - 1) / count
    return {f"best of {count}": bench.result(best, base, bound, first + time.monotonic() - began)}


def goals(pairs: Sequence[tuple[Result, Result]]) -> list[Goal]:
    """Our round against TRL's online trainer, over the seeds."""
    gains = [(ours.gain, online.gain) for ours, online in pairs]
    ours, online = (fmean(gain.mean for gain in side if gain is not None) for side in zip(*gains, strict=True))
    sure = sum(gain is not None and gain.lower95 > 0 for gain, _ in gains)
    time_ratio = fmean(each.seconds for each, _ in pairs) / fmean(each.seconds for _, each in pairs)
    return [
        Goal(
            "our gain / TRL's online gain, mean over seeds",
            f"{ours:+.3f} / {online:+.3f} = {ours / online:.2f}",
            f"≥ {GAIN_GOAL}",
            ours >= GAIN_GOAL * online,
        ),
        Goal("seeds in which our gain's lower bound is above 0", f"{sure} of {len(pairs)}", "all", sure == len(pairs)),
        Goal("our round's time / TRL's", f"{time_ratio:.2f}", f"≤ {TIME_GOAL}", time_ratio <= TIME_GOAL),
    ]


def _record(subject: Subject, stage: str) -> Path:
    record = subject.record(stage)
    assert record is not None
    return record.path(f"{stage}.parquet")


def _best(rows: pl.DataFrame) -> pl.DataFrame:
    """Each prompt's reply of highest reward."""
    return rows.sort("reward", descending=True, nulls_last=True, maintain_order=True).unique(
        "prompt_id", keep="first", maintain_order=True
    )


def _by_prompt(rows: pl.DataFrame) -> dict[str, float]:
    means = rows.drop_nulls("reward").group_by("prompt_id").agg(pl.col("reward").mean()).sort("prompt_id")
    return dict(means.select("prompt_id", "reward").iter_rows())


def as_table(title: str, results: dict[str, Result]) -> Table:
    table = Table(title=title, caption="Held-out reward with 95 % intervals over prompts; gain is paired by prompt.")
    table.add_column("policy")
    for column in ("reward", "gain", "KL, nats", "length", "seconds"):
        table.add_column(column, justify="right")
    for name, result in results.items():
        gain = "–" if result.gain is None else _interval(result.gain, "+.3f")
        numbers = (f"{result.kl:.2f}", f"{result.length:.1f}", f"{result.seconds:.0f}")
        table.add_row(name, _interval(result.reward, ".3f"), gain, *numbers)
    return table


def _interval(found: Interval, how: str) -> str:
    return f"{found.mean:{how}} [{found.lower95:{how}}, {found.upper95:{how}}]"


if __name__ == "__main__":
    run(methods)
