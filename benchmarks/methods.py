"""Methods: what does each way of training make of the same rollouts, and what would no training at all?

One round of a campaign is sampled and judged in a temporary home; grpo, raft and dpo train on that one batch. Beside
them stand the untrained policy, best-of-n (the untrained policy answers every held-out prompt n times and the judge
picks: as many rollouts a prompt as training drew) and TRL's own online `GRPOTrainer`, which samples while it trains,
with the same judge, prompts and number of rollouts. All answer the same held-out prompts, judged by the same rubric.

Best-of-n is flattered: its replies are picked by the very scores that are reported.
"""

import math
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import polars as pl
import typer
from rich.table import Table

from benchmarks.common import CampaignName, find_campaign, run, say
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
from rft_pipeline.stages.judging import judge_rollouts
from rft_pipeline.stages.sampling import sample_rollouts
from rft_pipeline.stats import Interval, clustered_mean, paired_difference
from rft_pipeline.store import Home, judgements_table, rollouts_table

METHODS = ("grpo", "raft", "dpo")
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
            )
        return rows

    def judged(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Replies with their rewards."""
        rubric = self.campaign.rubric
        scores, _ = judge_rollouts(
            rollouts=rows,
            criteria=sorted(rubric.criteria, key=lambda criterion: criterion.name),
            judges=self.sources,
            table=judgements_table(self.home.store),
            engines=self.judges,
            progress=Progress("judging"),
        )
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
    seed: Annotated[int | None, typer.Option(min=0, help="The campaign's seed.", show_default="the campaign's")] = None,
) -> None:
    """Held-out reward, KL, length and seconds of each method at equal rollouts."""
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as scratch:
        subject = Subject(find_campaign(campaign), Path(scratch), prompts)
        if seed is not None:
            subject.edit("campaign.yaml", lambda settings: settings.update(seed=seed))
        loaded = load_campaign(subject.folder)
        refuse_what_differs(loaded)
        bench, pipeline = Bench(loaded, subject.home), Pipeline(subject.home)
        made = [pipeline.run(loaded, name) for name in ("prompts", "rubric", "policy")]
        made = [pipeline.run(loaded, f"round_1/{stage}") for stage in SHARED]
        shared = sum(record.seconds for record in made)
        say(f"sampled and judged {made[0].rows['rollouts']} rollouts in {shared:.0f} s")
        samples = loaded.evaluation.samples_per_prompt
        began = time.monotonic()
        base = bench.answers(bench.base, samples)
        first = time.monotonic() - began  # these replies are the first of best-of-n's too
        results["no training"] = bench.result(base, None, 0.0, 0.0)
        for method in METHODS:
            subject.edit("campaign.yaml", lambda settings, m=method: settings["training"].update(method=m))  # type: ignore[misc]
            record = pipeline.run(load_campaign(subject.folder), "round_1/checkpoints")
            rows = bench.answers(record.path("checkpoint"), samples)
            results[method] = bench.result(rows, base, bench.kl(record.path("checkpoint")), shared + record.seconds)
            say(f"{method}: {results[method].reward.mean:.3f}")
        results["TRL's online GRPO"] = _online(bench, subject, base, samples)
        count = loaded.rollouts.group_size
        began = time.monotonic()
        best = _best(bench.answers(bench.base, count))
        bound = math.log(count) - (count - 1) / count
        results[f"best of {count}"] = bench.result(best, base, bound, first + time.monotonic() - began)
        bench.judges.close()
    console.out.print(as_table(f"{campaign}: {made[0].rows['rollouts']} rollouts, seed {loaded.seed}", results))


def _online(bench: Bench, subject: Subject, base: pl.DataFrame, samples: int) -> Result:
    chosen = pl.read_parquet(_record(subject, "rollouts")).unique("prompt_id", maintain_order=True)
    began = time.monotonic()
    folder = train_online(bench.campaign, bench.base, chosen, bench.judged, subject.home.root / "online")
    seconds = time.monotonic() - began
    rows = bench.answers(folder, samples)
    return bench.result(rows, base, bench.kl(folder), seconds)


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
