"""Partial: after an edit, what is made again, how long does it take, and what does the policy gain by it?

A copy of one campaign with one round is run from nothing in a temporary home by `rft run`, then again with nothing
edited, with the personas of one criterion replaced, and with a weight edited. A second copy is run from nothing with
the replaced personas: the fresh round, whose time and reward the edit cycle is compared with. Rows are counted from
records and tables; times are of the whole command.
"""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
import yaml
from rich.table import Table

from benchmarks.common import CampaignName, Goal, conclude, find_campaign, run, say
from benchmarks.fresh import fresh, rft_run
from rft_pipeline import models
from rft_pipeline.campaign import Campaign
from rft_pipeline.cli import console
from rft_pipeline.errors import ConfigError
from rft_pipeline.judges import ContrastJudge
from rft_pipeline.store import Home, Record, RecordStore, judgements_table, rollouts_table
from rft_pipeline.store.records import RECORD

GAINED_GOAL = 0.65
"""Least share of the way from the old checkpoint's reward to a fresh round's, under the new rubric; the fresh round's
may also be the lower one."""
TIME_GOAL = 0.25
"""Most of a fresh round's time that the edit cycle takes."""
REPORT_GOAL = 0.1
"""Most of a fresh round's time until the report of what stands is there."""
NOTHING_GOAL = 6.0
"""Most seconds of a run that has nothing to make."""
PERSONAS = {
    "positive": "You are a formal and exact clerk who writes business letters.",
    "negative": "You are a careless person who chats with friends.",
}
OURS_GOAL = 2.0
"""Most of them that our own code may take."""
STAGES = ("rollouts", "judge_scores", "reward_batches", "checkpoints", "eval_reports")


@dataclass(frozen=True)
class Made:
    """What one `rft run` made, and when."""

    seconds: float
    """From the command's start to its end."""
    until_report: float
    """From the command's start until the first eval report's record was written; NaN when none was made."""
    reward: float
    """Held-out reward of the newest round."""
    start_reward: float
    """Held-out reward of the policy that the round started from."""
    by_stage: dict[str, float]
    """Seconds of the round's stages that were made."""
    sampled: int
    """Training rollouts."""
    tokens: int
    """Tokens of them."""
    judged: dict[str, int]
    """Judgements of training rollouts by criterion."""
    held_out_sampled: int
    held_out_judged: int

    @property
    def stored_judged(self) -> int:
        """Judgements of replies that were stored before the run; equal new replies are judged once."""
        made = sum(self.judged.values()) + self.held_out_judged
        return max(0, made - (self.sampled + self.held_out_sampled) * len(self.judged))


class Subject:
    """The campaign that is run and edited, in a home of its own."""

    def __init__(self, campaign: Campaign, root: Path, prompts: int | None) -> None:
        self.home = Home(root / "home", root / "data")
        self.name = campaign.name
        self.folder = shutil.copytree(campaign.folder, self.home.data / campaign.name)
        self.records = RecordStore(self.home.store)
        self.env = {"RFT_HOME": str(self.home.root), "RFT_DATA": str(self.home.data)}
        for model in {campaign.policy.model, campaign.judge.model}:  # fetched outside of what is timed
            models.resolve(model, Home.find().models, campaign.folder)
        self.home.root.mkdir(parents=True)
        self.home.models.symlink_to(Home.find().models)
        self.edit("campaign.yaml", lambda settings: settings.update(rounds=1))
        if prompts is not None:
            self.edit("campaign.yaml", lambda settings: settings["rollouts"].update(prompts_per_round=prompts))
            self._fewer_eval_prompts(campaign, prompts / campaign.rollouts.prompts_per_round)

    def _fewer_eval_prompts(self, campaign: Campaign, share: float) -> None:
        source = self.folder / str(campaign.prompts.eval.source)
        lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
        source.write_text("".join(lines[: max(1, round(share * len(lines)))]), encoding="utf-8")

    def edit(self, name: str, change: Callable[[Any], None]) -> None:
        """Change the content of one of the campaign's YAML files."""
        content = yaml.safe_load((self.folder / name).read_text(encoding="utf-8"))
        change(content)
        (self.folder / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def record(self, stage: str) -> Record | None:
        return self.records.current(f"{self.name}/round_1/{stage}")

    def heights(self) -> dict[str, int]:
        """Rows of both tables."""
        tables = {"rollouts": rollouts_table(self.home.store), "judgements": judgements_table(self.home.store)}
        return {name: table.rows().select(pl.len()).collect().item() for name, table in tables.items()}

    def run(self) -> Made:
        """`rft run`. Raises `CalledProcessError`; what the command said is on stderr."""
        before, rows = {stage: self.record(stage) for stage in STAGES}, self.heights()
        began, clock = time.time(), time.perf_counter()
        rft_run(self.name, self.env, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - clock
        found = {stage: record for stage in STAGES if (record := self.record(stage)) is not None}
        made = {
            stage: record
            for stage, record in found.items()
            if (old := before[stage]) is None or old.fingerprint != record.fingerprint
        }
        rollouts, judged = (made.get(stage) for stage in ("rollouts", "judge_scores"))
        report = json.loads(found["eval_reports"].path("report.json").read_text(encoding="utf-8"))
        counts = {} if judged is None else {c: judged.rows[f"made_{c}"] for c in self._criteria()}
        sampled = 0 if rollouts is None else rollouts.rows["made"]
        grown = {name: height - rows[name] for name, height in self.heights().items()}
        return Made(
            seconds=seconds,
            until_report=self._first_report_since(began) - began,
            reward=report["rounds"][-1]["reward"],
            start_reward=report["rounds"][0]["reward"],
            by_stage={stage: record.seconds for stage, record in made.items()},
            sampled=sampled,
            tokens=0 if rollouts is None else _tokens(rollouts),
            judged=counts,
            held_out_sampled=grown["rollouts"] - sampled,
            held_out_judged=grown["judgements"] - sum(counts.values()),
        )

    def _first_report_since(self, began: float) -> float:
        written = [
            path.stat().st_mtime for path in self.home.store.glob(f"{self.name}/round_*/eval_reports/*/{RECORD}")
        ]
        return min((when for when in written if when >= began), default=float("nan"))

    def _criteria(self) -> list[str]:
        rubric = yaml.safe_load((self.folder / "rubric.yaml").read_text(encoding="utf-8"))
        return [criterion["name"] for criterion in rubric["criteria"]]


def _tokens(rollouts: Record) -> int:
    rows = pl.read_parquet(rollouts.path("rollouts.parquet"), columns=["tokens"])
    return int(rows["tokens"].list.len().sum())


def partial(
    campaign: CampaignName = "support_reply",
    prompts: Annotated[
        int | None,
        typer.Option(min=2, help="Prompts a round; eval prompts go down with them.", show_default="the campaign's"),
    ] = None,
    times: Annotated[int, typer.Option(min=1, help="How often the run with nothing edited is timed.")] = 3,
    seed: Annotated[
        list[int] | None,
        typer.Option(min=0, help="The campaign's seed; may be repeated.", show_default="the campaign's"),
    ] = None,
) -> None:
    """Rows made again, seconds taken and reward gained after an edit, compared with a fresh round."""
    loaded = find_campaign(campaign)
    place, name = _edited_criterion(loaded)
    found = [_of_seed(loaded, prompts, times, each, place, name) for each in seed or [loaded.seed]]
    conclude([goal for each in found for goal in goals(each, name)])


@dataclass(frozen=True)
class Compared:
    """The runs of one seed."""

    seed: int
    whole: Made
    nothing: Made
    edited: Made
    weighted: Made
    fresh: Made
    ours: float
    """Seconds of our own code in a run with nothing to make."""
    stored: int
    """Held-out replies in the report before the edit."""


def _of_seed(loaded: Campaign, prompts: int | None, times: int, seed: int, place: int, name: str) -> Compared:
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(loaded, Path(folder), prompts)
        subject.edit("campaign.yaml", lambda settings: settings.update(seed=seed, audit=None, alarms=None))
        runs = {"everything new": subject.run()}
        say(f"seed {seed}: everything new: {runs['everything new'].seconds:.0f} s")
        report = subject.record("eval_reports")
        stored = 0 if report is None else report.rows["rollouts"]
        runs["nothing"] = nothing = min((subject.run() for _ in range(times)), key=lambda made: made.seconds)
        whose = fresh("-m", "benchmarks.owners", "run", loaded.name, env=subject.env)
        say(f"nothing edited: {nothing.seconds:.1f} s")
        subject.edit("rubric.yaml", lambda rubric: rubric["criteria"][place]["judge"].update(PERSONAS))
        runs[f"text of {name}"] = edited = subject.run()
        say(f"{name} edited: {edited.seconds:.0f} s")
        subject.edit("rubric.yaml", lambda rubric: rubric["criteria"][place].update(weight=1.25))
        runs["a weight"] = weighted = subject.run()
    with tempfile.TemporaryDirectory() as folder:
        other = Subject(loaded, Path(folder), prompts)
        other.edit("campaign.yaml", lambda settings: settings.update(seed=seed, audit=None, alarms=None))
        other.edit("rubric.yaml", lambda rubric: rubric["criteria"][place]["judge"].update(PERSONAS))
        runs["fresh round, new text"] = fresh_round = other.run()
    console.out.print(as_table(f"{loaded.name}, seed {seed}: one round, {stored} held-out replies", runs))
    console.out.print(stage_table(runs))
    owners = ", ".join(f"{owner} {seconds:.2f}" for owner, seconds in sorted(whose.output.items()))
    console.out.print(
        f"Nothing edited, once more, {whose.seconds:.1f} s; by whose code is at work: {owners}", highlight=False
    )
    whole = runs["everything new"]
    return Compared(seed, whole, nothing, edited, weighted, fresh_round, whose.output["ours"], stored)


def _edited_criterion(campaign: Campaign) -> tuple[int, str]:
    """Place and name of the first criterion judged by contrast. Raises `ConfigError` when there is none."""
    for place, criterion in enumerate(campaign.rubric.criteria):
        if isinstance(criterion.judge, ContrastJudge):
            return place, criterion.name
    raise ConfigError(f"{campaign.name}: no criterion is judged by contrast, and this benchmark edits such a one")


def as_table(title: str, runs: dict[str, Made]) -> Table:
    table = Table(title=title)
    table.add_column("edited")
    columns = ("report at, s", "end at, s", "reward", "sampled", "judged", "held out: sampled", "judged")
    for column in columns:
        table.add_column(column, justify="right")
    for name, made in runs.items():
        counts = (made.sampled, sum(made.judged.values()), made.held_out_sampled, made.held_out_judged)
        times = (_seconds(made.until_report), _seconds(made.seconds))
        table.add_row(name, *times, f"{made.reward:.3f}", *(f"{n:,}" for n in counts))
    return table


def stage_table(runs: dict[str, Made]) -> Table:
    table = Table(title="Seconds of the stages that were made")
    table.add_column("edited")
    for stage in STAGES:
        table.add_column(stage, justify="right")
    for name, made in runs.items():
        table.add_row(name, *(_seconds(made.by_stage.get(stage, float("nan"))) for stage in STAGES))
    return table


def _seconds(value: float) -> str:
    return "–" if value != value else f"{value:.1f}"


def goals(runs: Compared, name: str) -> list[Goal]:
    edited, fresh_round = runs.edited, runs.fresh
    enough = edited.start_reward + GAINED_GOAL * (fresh_round.reward - edited.start_reward)
    ratio, report = edited.seconds / fresh_round.seconds, edited.until_report / fresh_round.seconds
    at = f"seed {runs.seed}: "
    return [
        Goal(
            f"{at}reward, from {edited.start_reward:.3f}; a fresh round's is {fresh_round.reward:.3f}",
            f"{edited.reward:.3f}",
            f"≥ {enough:.3f}",
            edited.reward >= enough,
        ),
        Goal(f"{at}time after the edit / a fresh round", f"{ratio:.2f}", f"≤ {TIME_GOAL}", ratio <= TIME_GOAL),
        Goal(f"{at}until the report of what stands", f"{report:.2f}", f"≤ {REPORT_GOAL}", report <= REPORT_GOAL),
        Goal(
            f"{at}a weight edited: judge calls for what is stored",
            f"{runs.weighted.stored_judged}",
            "0",
            runs.weighted.stored_judged == 0,
        ),
        Goal(
            f"{at}nothing edited",
            f"{runs.nothing.seconds:.1f} s",
            f"< {NOTHING_GOAL:.0f} s",
            runs.nothing.seconds < NOTHING_GOAL,
        ),
        Goal(f"{at}of which our own code", f"{runs.ours:.1f} s", f"< {OURS_GOAL:.0f} s", runs.ours < OURS_GOAL),
    ]


if __name__ == "__main__":
    run(partial)
