"""Promotion: how often does a year of rounds without any gain end with a false promotion?

A year has C cycles of R rounds, all decided on the same K held-out prompts against the same champion. No round is
better: rewards of rounds and champion come from one distribution, Beta(2, 2). Compared are bounds that are each wrong
with a chance of 2.5 %, and the error that all decisions share, `promotion.error`. The champion's replies are sampled
anew for each decision, or stay the same, as they do in a campaign.
"""

from typing import Annotated

import numpy as np
import typer
from rich.table import Table
from scipy.stats import t

from benchmarks.common import Goal, conclude, run
from rft_pipeline.campaign import Promotion
from rft_pipeline.cli import console
from rft_pipeline.promotion.looks import spent

FIXED = 0.025


def false_years(
    years: int, levels_C: np.ndarray, rounds: int, prompts: int, anew: bool, random: np.random.Generator
) -> float:
    """The share of years with a false promotion; `levels_C` is the chance that a bound of each cycle is wrong."""
    quantiles_C = t.isf(levels_C, prompts - 1)
    false = 0
    for _ in range(years):
        champion_CK = random.beta(2, 2, (len(levels_C) if anew else 1, prompts))
        differences_CRK = random.beta(2, 2, (len(levels_C), rounds, prompts)) - champion_CK[:, None, :]
        errors_CR = differences_CRK.std(-1, ddof=1) / prompts**0.5
        false += bool((differences_CRK.mean(-1) > quantiles_C[:, None] * errors_CR).any())
    return false / years


def looks(
    years: Annotated[int, typer.Option(help="Years simulated for each cell.")] = 2000,
    cycles: Annotated[int, typer.Option(help="Decisions a year.")] = 52,
    rounds: Annotated[int, typer.Option(help="Rounds that a decision compares.")] = 2,
    prompts: Annotated[int, typer.Option(help="Held-out prompts.")] = 88,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Print the share of years with a false promotion."""
    error = Promotion().error
    fixed_C = np.full(cycles, FIXED)
    shared_C = np.array([spent(error, look) / rounds for look in range(1, cycles + 1)])
    table = Table("bounds", "champion's replies anew", "champion's replies stay", box=None, header_style="bold")
    found: dict[str, list[float]] = {}
    for name, levels_C in ((f"{FIXED:.1%} each", fixed_C), (f"{error:.0%} shared", shared_C)):
        random = np.random.default_rng(seed)
        found[name] = [false_years(years, levels_C, rounds, prompts, anew, random) for anew in (True, False)]
        table.add_row(name, *(f"{share:.1%}" for share in found[name]))
    console.out.print(table)
    worst = max(found[f"{error:.0%} shared"])
    noise = 3 * (error * (1 - error) / years) ** 0.5
    goal = Goal("false years with the shared error", f"{worst:.1%}", f"<= {error + noise:.1%}", worst <= error + noise)
    conclude([goal])


if __name__ == "__main__":
    run(looks)
