"""Partial: after an edit, what is made again, and how long does it take compared with the whole round?

A copy of one campaign with one round is run from nothing in a temporary home by `rft run`, then again with nothing
edited, with the text of one criterion edited, and with a weight edited. Rows are counted from records and tables;
times are of the whole command, from its start until the checkpoint's record is written, and until it ends.
"""

import os
import shutil
import subprocess
import sys
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
from benchmarks.fresh import ROOT, fresh
from rft_pipeline import models
from rft_pipeline.campaign import Campaign
from rft_pipeline.cli import console
from rft_pipeline.errors import ConfigError
from rft_pipeline.judges import ContrastJudge
from rft_pipeline.store import Home, Record, RecordStore, judgements_table, rollouts_table
from rft_pipeline.store.records import RECORD

RATIO_GOAL = 0.55
"""Most of the whole round's time, eval report included, until an edited criterion has led to a new checkpoint."""
NOTHING_GOAL = 10.0
"""Most seconds of a run that has nothing to make."""
OURS_GOAL = 2.0
"""Most of them that our own code may take."""
STAGES = ("rollouts", "judge_scores", "reward_batches", "checkpoints", "eval_reports")


@dataclass(frozen=True)
class Made:
    """What one `rft run` made, and when."""

    seconds: float
    """From the command's start to its end."""
    until_checkpoint: float
    """From the command's start until the checkpoint's record was written; NaN when the checkpoint was not made."""
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
        command = [sys.executable, "-m", "rft_pipeline.cli", "run", self.name]
        subprocess.run(command, cwd=ROOT, env={**os.environ, **self.env}, stdout=subprocess.DEVNULL, check=True)
        seconds = time.perf_counter() - clock
        found = {stage: record for stage in STAGES if (record := self.record(stage)) is not None}
        made = {
            stage: record
            for stage, record in found.items()
            if (old := before[stage]) is None or old.fingerprint != record.fingerprint
        }
        rollouts, judged, checkpoint = (made.get(stage) for stage in ("rollouts", "judge_scores", "checkpoints"))
        counts = {} if judged is None else {c: judged.rows[f"made_{c}"] for c in self._criteria()}
        sampled = 0 if rollouts is None else rollouts.rows["made"]
        grown = {name: height - rows[name] for name, height in self.heights().items()}
        return Made(
            seconds=seconds,
            until_checkpoint=(checkpoint.path(RECORD).stat().st_mtime - began) if checkpoint else float("nan"),
            by_stage={stage: record.seconds for stage, record in made.items()},
            sampled=sampled,
            tokens=0 if rollouts is None else _tokens(rollouts),
            judged=counts,
            held_out_sampled=grown["rollouts"] - sampled,
            held_out_judged=grown["judgements"] - sum(counts.values()),
        )

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
) -> None:
    """Rows made again and seconds taken after an edit, compared with the whole round."""
    loaded = find_campaign(campaign)
    place, name = _edited_criterion(loaded)
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(loaded, Path(folder), prompts)
        runs = {"everything new": subject.run()}
        say(f"everything new: {runs['everything new'].seconds:.0f} s")
        again = [subject.run() for _ in range(times)]
        runs["nothing"] = nothing = min(again, key=lambda made: made.seconds)
        whose = fresh("-m", "benchmarks.owners", "run", campaign, env=subject.env)
        say(f"nothing edited: {nothing.seconds:.1f} s")
        subject.edit("rubric.yaml", lambda rubric: _say_more(rubric["criteria"][place]))
        runs[f"text of {name}"] = edited = subject.run()
        say(f"{name} edited: {edited.seconds:.0f} s")
        subject.edit("rubric.yaml", lambda rubric: rubric["criteria"][place].update(weight=1.25))
        runs["a weight"] = weighted = subject.run()
        report = subject.record("eval_reports")
        size = "" if report is None else f", {report.rows['prompts']} eval prompts"
    whole = runs["everything new"]
    title = f"{campaign}: one round of {whole.sampled} rollouts, {len(whole.judged)} criteria{size}"
    console.out.print(as_table(title, runs))
    console.out.print(stage_table(runs))
    console.out.print(
        "Like with like, the edited criterion's run / everything new: "
        f"{edited.until_checkpoint / whole.until_checkpoint:.2f} from the start to the checkpoint, "
        f"{edited.seconds / whole.seconds:.2f} to the end of the eval report.",
        highlight=False,
    )
    console.out.print(
        f"Nothing edited, once more, {whose.seconds:.1f} s; by whose code is at work: "
        + ", ".join(f"{owner} {seconds:.2f}" for owner, seconds in sorted(whose.output.items())),
        highlight=False,
    )
    conclude(goals(whole, nothing, whose.output["ours"], edited, weighted, name))


def _edited_criterion(campaign: Campaign) -> tuple[int, str]:
    """Place and name of the first criterion judged by contrast. Raises `ConfigError` when there is none."""
    for place, criterion in enumerate(campaign.rubric.criteria):
        if isinstance(criterion.judge, ContrastJudge):
            return place, criterion.name
    raise ConfigError(f"{campaign.name}: no criterion is judged by contrast, and this benchmark edits such a one")


def _say_more(criterion: dict[str, Any]) -> None:
    criterion["judge"]["positive"] += " You are considerate."


def as_table(title: str, runs: dict[str, Made]) -> Table:
    table = Table(title=title)
    table.add_column("edited")
    columns = ("checkpoint at, s", "end at, s", "sampled", "tokens", "judged", "held out: sampled", "judged")
    for column in columns:
        table.add_column(column, justify="right")
    for name, made in runs.items():
        counts = (made.sampled, made.tokens, sum(made.judged.values()), made.held_out_sampled, made.held_out_judged)
        table.add_row(name, _seconds(made.until_checkpoint), _seconds(made.seconds), *(f"{n:,}" for n in counts))
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


def goals(whole: Made, nothing: Made, ours: float, edited: Made, weighted: Made, name: str) -> list[Goal]:
    others = sum(edited.judged.values()) - edited.judged[name]
    ratio = edited.until_checkpoint / whole.seconds
    judged = f"{edited.judged[name]} of {name}, {others} of others"
    return [
        Goal("one criterion edited: judge calls", judged, f"{whole.judged[name]} and 0", _only(edited, whole, name)),
        Goal("its generated training tokens", f"{edited.tokens}", "0", edited.tokens == 0),
        Goal("time to the new checkpoint / whole round", f"{ratio:.2f}", f"≤ {RATIO_GOAL}", ratio <= RATIO_GOAL),
        Goal("a weight edited: judge calls", f"{_calls(weighted)}", "0", _calls(weighted) == 0),
        Goal("nothing edited", f"{nothing.seconds:.1f} s", f"< {NOTHING_GOAL:.0f} s", nothing.seconds < NOTHING_GOAL),
        Goal("of which our own code", f"{ours:.1f} s", f"< {OURS_GOAL:.0f} s", ours < OURS_GOAL),
    ]


def _only(edited: Made, whole: Made, name: str) -> bool:
    return edited.judged == {each: whole.judged[each] if each == name else 0 for each in whole.judged}


def _calls(made: Made) -> int:
    return sum(made.judged.values())


if __name__ == "__main__":
    run(partial)
