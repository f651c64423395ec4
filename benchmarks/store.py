"""Store: what do planning, looking for missing rows, reading, tracing, gc, verifying and appending cost when the row
tables are large?

Stores of some sizes are made without a model (see `benchmarks.synthetic`), one after the other, in a temporary folder,
or once in a given one. Every call runs in fresh processes, several times; the least time counts, and the largest peak
of memory. What a call changes, it changes in a copy of links.
"""

import itertools
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.table import Table

from benchmarks.common import Goal, conclude, run, say
from benchmarks.fresh import Ended, fresh
from benchmarks.synthetic import COMMIT, NAME, ROUND
from rft_pipeline.cli import console

PLAN_GOAL = 5.0
"""Most seconds of `rft plan`, from start to end of the process."""
MISSING_GOAL = 3.0
"""Most seconds to find which of a round's rollouts, or of their judgements, are missing."""
MEMORY_GOAL = 2000.0
"""Most megabytes that any process holds."""
GROWTH_GOAL = 10.0
"""Most that a call's time may grow when the store grows tenfold."""
CHANGE = ("append", "tidy")
"""Calls that change the store."""
ONCE = ("tidy", "gc", "verify")
"""Calls that take long, or that a second time would find nothing to do."""
SIZES = ["10k", "100k", "1M"]


class Found(NamedTuple):
    """One call on one store."""

    seconds: float
    megabytes: float


CALLS = {
    "rft plan": f"`rft plan`, the whole command: a round of {ROUND:,} rollouts was begun",
    "plan": "the same without starting Python",
    "missing_rollouts": f"which of {ROUND:,} rollouts are missing",
    "missing_rollouts_of_policy": "the same, the policy being known",
    "missing_judgements": f"which of {6 * ROUND:,} judgements are missing (6 criteria)",
    "read_round": f"read a round of {ROUND:,} rollouts",
    "read_one": "read one rollout by its id alone",
    "trace": "`rft trace` of a rollout, without starting Python",
    "gc": "what `rft gc` finds, without starting Python",
    "verify": "which rows of its records `rft verify` misses, without starting Python",
    "append": f"append {COMMIT} rollouts",
    "tidy": "merge what a stage's commits left, both tables",
}


def count_of(text: str) -> int:
    """A number of rows, e.g. 20000, 20k or 1M."""
    digits, factor = text[:-1], {"k": 1_000, "M": 1_000_000}.get(text[-1:])
    count = int(digits) * factor if factor else int(text)
    if count < ROUND:
        raise typer.BadParameter(f"must be at least {ROUND:,}")
    return count


def store(
    rows: Annotated[
        list[str], typer.Option(help="Rollouts of a store, e.g. 10M; repeat it to see how the time grows.")
    ] = SIZES,
    times: Annotated[int, typer.Option(min=1, help="How often each call is timed.")] = 3,
    keep: Annotated[
        Path | None, typer.Option(help="A folder for the stores; those that are there are not made again.")
    ] = None,
) -> None:
    """Seconds and memory of the store's calls at some sizes."""
    sizes = sorted(count_of(each) for each in rows)
    found: dict[str, dict[int, Found]] = {name: {} for name in CALLS}
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=keep) as scratch:
            folder = (keep or Path(scratch)) / str(size)
            if not folder.exists():
                made = fresh("-m", "benchmarks.synthetic", f"{scratch}/made", str(size), env={}).output
                say(f"{made['rollouts']:,} rollouts, {made['judgements']:,} judgements made in {made['seconds']:.0f} s")
                Path(scratch, "made").rename(folder)
            for name in CALLS:
                found[name][size] = timed(name, folder, Path(scratch), 1 if name in ONCE else times)
                say(f"{size:,} {name}: {found[name][size].seconds:.2f} s, {found[name][size].megabytes:.0f} MB")
    console.out.print(as_table(found, sizes))
    conclude(goals(found, sizes))


def timed(name: str, root: Path, scratch: Path, times: int) -> Found:
    """The least seconds and the largest peak of some fresh processes."""
    if name in CHANGE:
        root = shutil.copytree(root, scratch / name, copy_function=os.link)
    ended = [call(name, root) for _ in range(times)]
    seconds = [each.seconds if name == "rft plan" else each.output["seconds"] for each in ended]
    return Found(min(seconds), max(each.megabytes for each in ended))


def call(name: str, root: Path) -> Ended:
    if name == "rft plan":
        env = {"RFT_HOME": str(root / "home"), "RFT_DATA": str(root / "data")}
        return fresh("-m", "rft_pipeline.cli", "plan", NAME, "--json", env=env)
    return fresh("-m", "benchmarks.store_calls", name, str(root), env={})


def growth(found: dict[int, Found], sizes: list[int]) -> float | None:
    """The largest factor of time a tenfold store costs, over neighbouring sizes; None for a single size."""
    steps = itertools.pairwise(sizes)
    return max(
        ((found[large].seconds / found[small].seconds) ** (1 / math.log10(large / small)) for small, large in steps),
        default=None,
    )


def as_table(found: dict[str, dict[int, Found]], sizes: list[int]) -> Table:
    table = Table(title="Seconds by rollouts in the store (six judgements each)")
    table.add_column("")
    for column in (*(f"{size:,}" for size in sizes), "growth per 10×", "peak MB"):
        table.add_column(column, justify="right")
    for name, each in found.items():
        seconds = [f"{each[size].seconds:.3f}" for size in sizes]
        grown = growth(each, sizes)
        table.add_row(CALLS[name], *seconds, "–" if grown is None else f"{grown:.1f}", f"{peak(each):.0f}")
    return table


def peak(found: dict[int, Found]) -> float:
    return max(each.megabytes for each in found.values())


def goals(found: dict[str, dict[int, Found]], sizes: list[int]) -> list[Goal]:
    largest = {name: each[sizes[-1]].seconds for name, each in found.items()}
    limits = {
        "rft plan": ("`rft plan`", PLAN_GOAL),
        "missing_rollouts": (f"missing of {ROUND:,} rollouts", MISSING_GOAL),
        "missing_judgements": (f"missing of {6 * ROUND:,} judgements", MISSING_GOAL),
    }
    seconds = [
        Goal(what, f"{largest[name]:.2f} s", f"< {most:.0f} s", largest[name] < most)
        for name, (what, most) in limits.items()
    ]
    memory = max(peak(each) for each in found.values())
    grown = [factor for each in found.values() if (factor := growth(each, sizes)) is not None]
    return [
        *seconds,
        Goal("memory of any process", f"{memory:.0f} MB", f"< {MEMORY_GOAL:.0f} MB", memory < MEMORY_GOAL),
        *(
            [Goal("growth of any call per 10×", f"{max(grown):.1f}", f"≤ {GROWTH_GOAL:.0f}", max(grown) <= GROWTH_GOAL)]
            if grown
            else []
        ),
    ]


if __name__ == "__main__":
    run(store)
