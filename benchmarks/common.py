"""What the benchmarks share: the model they run on, timing by turns, and the verdict.

The two sides are timed pair by pair (A B A B), so a machine that slows down slows both. What is compared with a goal is
the median over the pairs of the ratio within a pair.
"""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import polars as pl
import typer
from rich.markup import escape
from rich.table import Table

from rft_pipeline import models
from rft_pipeline.campaign import Campaign, EngineRuntime, load_campaign
from rft_pipeline.cli import console
from rft_pipeline.engines import GenerateRequest
from rft_pipeline.engines.weights import pick_device, pick_dtype
from rft_pipeline.errors import RftError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.prompts.reading import read_prompts
from rft_pipeline.stages.sampling import conversation
from rft_pipeline.store import Home

if TYPE_CHECKING:
    from rft_pipeline.engines.transformers import TransformersEngine

Dtype = Literal["auto", "bfloat16", "float32"]

CampaignName = Annotated[str, typer.Option("--campaign", help="A folder below data/ that holds campaign.yaml.")]
ModelName = Annotated[
    str, typer.Option("--model", help="`embedded`, a hub id (org/name or org/name@revision), or a folder.")
]
DtypeName = Annotated[Dtype, typer.Option("--dtype", help="Number format of the weights, as in campaign.yaml.")]
GroupSize = Annotated[int | None, typer.Option(min=1, help="Rollouts a prompt.", show_default="the campaign's")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Rows of a batch.", show_default="the campaign's")]
MaxNewTokens = Annotated[int | None, typer.Option(min=1, help="Tokens a rollout.", show_default="the campaign's")]
PairCount = Annotated[int, typer.Option("--pairs", min=3, help="How often each side is timed.")]


class OneEngine:
    """`judges.Engines` with one engine behind every judge."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    def scorer(self, by: str) -> Any:
        return self.engine

    def asker(self, by: str) -> Any:
        return self.engine

    def rewarder(self, by: str) -> Any:
        return self.engine


class Timed(NamedTuple):
    """One side, timed once."""

    tokens: int
    seconds: float

    @property
    def speed(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


class Pair(NamedTuple):
    """Both sides, one right after the other."""

    ours: Timed
    plain: Timed

    @property
    def ratio(self) -> float:
        """How many times as fast ours is."""
        return self.ours.speed / self.plain.speed


class Goal(NamedTuple):
    """What was wanted, what was found, and whether that is enough."""

    what: str
    found: str
    wanted: str
    met: bool


def run(command: Callable[..., None]) -> None:
    """Run a benchmark as a command line; an `RftError` is printed without a traceback and ends with its exit code."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except RftError as error:
        console.fail(str(error))
        sys.exit(error.exit_code)


def find_campaign(name: str) -> Campaign:
    """Raises `ConfigError`."""
    return load_campaign(Home.find().data / name)


def load_engine(model: str, runtime: EngineRuntime) -> "TransformersEngine":
    """Raises `ModelError`."""
    from rft_pipeline.engines.transformers import TransformersEngine

    return TransformersEngine(model_folder(model), runtime)


def model_folder(model: str) -> Path:
    """Raises `ModelError`."""
    return models.resolve(model, Home.find().models, Path.cwd()).folder


def runtime_of(campaign: Campaign, batch_size: int | None, dtype: Dtype) -> EngineRuntime:
    """The runtime of the campaign's rollouts with the values of the command line; its dtype is not `auto`."""
    runtime = campaign.rollouts.runtime
    changed: dict[str, Any] = {"dtype": pick_dtype(dtype, pick_device(runtime.device))}
    return runtime.model_copy(update=changed if batch_size is None else {**changed, "batch_size": batch_size})


def train_prompts(campaign: Campaign, count: int) -> pl.DataFrame:
    """The first `count` train prompts."""
    return read_prompts(campaign).rows.filter(pl.col("split") == "train").head(count)


def generate_requests(campaign: Campaign, prompts: pl.DataFrame, group_size: int, turn: int) -> list[GenerateRequest]:
    """`group_size` completions of every prompt; each turn draws others. A request's id begins with the prompt's."""
    return [
        GenerateRequest(
            request_id=f"{prompt}/{index}",
            messages=conversation(messages, campaign.policy.system, campaign.policy.system_in),
            seed=seed_of(campaign.seed, "benchmark", turn, prompt, index),
            thinking=campaign.policy.thinking,
        )
        for prompt, messages in prompts.select("prompt_id", "messages").iter_rows()
        for index in range(group_size)
    ]


def alternate(ours: Callable[[int], int], plain: Callable[[int], int], pairs: int) -> list[Pair]:
    """Time both sides by turns. Each gets the turn's number and returns how many tokens it worked through.

    A side must have its results in Python's hands when it returns: nothing else waits for a GPU.
    """
    found = []
    for turn in range(pairs):
        pair = Pair(_timed(ours, turn), _timed(plain, turn))
        say(
            f"pair {turn + 1} of {pairs}: ours {pair.ours.seconds:.2f} s, plain {pair.plain.seconds:.2f} s, "
            f"ratio {pair.ratio:.2f}"
        )
        found.append(pair)
    return found


def _timed(side: Callable[[int], int], turn: int) -> Timed:
    start = time.perf_counter()
    tokens = side(turn)
    return Timed(tokens, time.perf_counter() - start)


def speed_table(title: str, caption: str, sides: tuple[str, str], pairs: Sequence[Pair]) -> Table:
    """Tokens a second of both sides and their ratio: median, smallest and largest of the pairs."""
    table = Table(title=title, caption=caption)
    table.add_column("")
    for column in ("median", "min–max", "seconds", "tokens"):
        table.add_column(column, justify="right")
    for side, timed in zip(sides, zip(*pairs, strict=True), strict=True):
        speeds = [one.speed for one in timed]
        seconds = statistics.median(one.seconds for one in timed)
        tokens = statistics.median(one.tokens for one in timed)
        table.add_row(
            f"{side}, tok/s",
            f"{statistics.median(speeds):.1f}",
            f"{min(speeds):.1f}–{max(speeds):.1f}",
            f"{seconds:.2f}",
            f"{tokens:.0f}",
        )
    ratios = [pair.ratio for pair in pairs]
    table.add_section()
    table.add_row("[bold]ratio[/]", f"[bold]{median_ratio(pairs):.2f}[/]", f"{min(ratios):.2f}–{max(ratios):.2f}")
    return table


def median_ratio(pairs: Sequence[Pair]) -> float:
    return statistics.median(pair.ratio for pair in pairs)


def conclude(goals: Sequence[Goal]) -> None:
    """Print the goals; ends the command with exit code 1 when one is missed."""
    table = Table("goal", "found", "wanted", "")
    for goal in goals:
        table.add_row(goal.what, goal.found, goal.wanted, "[green]met[/]" if goal.met else "[bold red]missed[/]")
    console.out.print(table)
    if not all(goal.met for goal in goals):
        raise typer.Exit(1)


def machine(engine: "TransformersEngine") -> str:
    """What the numbers were taken on."""
    import torch

    if engine.device == "cuda":
        where = torch.cuda.get_device_name()
    else:
        where = f"{platform.machine()} CPU, {torch.get_num_threads()} of {os.cpu_count()} threads"
    versions = ", ".join(f"{name} {models.versions()[name]}" for name in ("torch", "transformers"))
    return f"{where}; {versions}"


def say(message: str) -> None:
    """One line of progress on stderr; its text is data, not markup."""
    console.err.print(escape(message), highlight=False, soft_wrap=True)
