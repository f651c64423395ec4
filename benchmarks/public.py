"""Public: does the audit's arithmetic give the figures others published for the same recorded judgements?

Reads a folder that holds LLMBar's `llmbar/` (github.com/princeton-nlp/LLMBar: `LLMBar_Natural.json` and the recorded
`judge_outputs_Natural_*`) and PandaLM's `pandalm/` (github.com/WeOpenML/PandaLM: both test sets). No model is asked.
"""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from benchmarks.common import Goal, conclude, run
from rft_pipeline.audit.agreement import kappa
from rft_pipeline.audit.annotators import People, people
from rft_pipeline.cli import console
from rft_pipeline.errors import DataError
from rft_pipeline.stats import Interval, Resamples

LLMBAR = {"GPT-4": (0.92, 0.95, 0.97), "ChatGPT": (0.79, 0.79, 0.68)}
"""Accuracy as given and with the outputs swapped, and the share of equal verdicts in both orders."""
PANDALM_PEOPLE = {("1", "2"): (0.913, 0.852), ("1", "3"): (0.929, 0.879), ("2", "3"): (0.918, 0.861)}
"""Share of equal labels and κ of every two annotators; κ of the last pair is 0.8617, cut off rather than rounded."""
VERDICTS = {"1": 1, "2": 2, "Tie": 0}
"""PandaLM's judge as labels are written; anything else could not be read."""
SAYS_FIRST, SAYS_SECOND = "Output (a)", "Output (b)"


def public(
    folder: Annotated[Path, typer.Argument(help="Holds llmbar/ and pandalm/.")],
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples of prompts.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the resamples.")] = 0,
) -> None:
    """Reproduce the figures published with two public sets of recorded judgements."""
    table = Table("", "found", "95 % interval", title="Recorded judges and people, audited again")
    goals = [goal for model in LLMBAR for goal in llmbar(folder, model, resamples, seed, table)]
    goals += pandalm(folder, resamples, seed, table)
    console.out.print(table)
    conclude(goals)


def llmbar(folder: Path, model: str, resamples: int, seed: int, table: Table) -> list[Goal]:
    """A recorded judge of pairs, read from its completions, against the objective label."""
    rows = read(folder / "llmbar" / f"judge_outputs_Natural_{model}_Vanilla_NoRules.json")
    drawn = Resamples.draw(np.arange(len(rows)), resamples, seed)
    right_M2 = np.array(
        [[says(row, swapped) == row["label"] for swapped in (False, True)] for row in rows], dtype=float
    )
    one_M2 = np.array([[wins(says(row, swapped)) for swapped in (False, True)] for row in rows])
    given_M, swapped_M = one_M2.T
    known_M = ~np.isnan(one_M2).any(axis=1)
    same = drawn.mean(np.where(known_M, given_M == swapped_M, np.nan))
    found = (drawn.mean(right_M2[:, 0]), drawn.mean(right_M2[:, 1]), same)
    names = ("accuracy as given", "accuracy swapped", "same verdict in both orders")
    table.add_row(f"LLMBar, {model}: first wins, less ½", *shown(drawn.mean((given_M - swapped_M) / 2)))
    return [
        reproduced(f"LLMBar, {model}: {name}", each, wanted, 2, table)
        for name, each, wanted in zip(names, found, LLMBAR[model], strict=True)
    ]


def says(row: dict[str, Any], swapped: bool) -> int | None:
    """Which output the judge names, 1 or 2 as the file numbers them; None when its words are neither."""
    words = row["results"][-1][f"swap = {swapped}"]["completion"][0]
    if words not in (SAYS_FIRST, SAYS_SECOND):
        return None
    return 1 if (words == SAYS_FIRST) != swapped else 2


def wins(named: int | None) -> float:
    """Whether output 1 wins."""
    return float("nan") if named is None else float(named == 1)


def pandalm(folder: Path, resamples: int, seed: int, table: Table) -> list[Goal]:
    """Three annotators among themselves, and a recorded judge against their majority."""
    rows = read(folder / "pandalm" / "testset-v1.json")
    verdicts = {
        row["idx"]: VERDICTS.get(row["gpt_result"])
        for row in read(folder / "pandalm" / "gpt-3.5-turbo-testset-v1.json")
    }
    label_NA = np.array([[row[f"annotator{number}"] for number in (1, 2, 3)] for row in rows], dtype=float)
    drawn = Resamples.draw([f"{row['instruction']}\n{row['input']}" for row in rows], resamples, seed)
    majority_N = np.array([Counter(labels).most_common(1)[0][0] for labels in label_NA.tolist()])
    verdict_N = np.array([np.nan if (it := verdicts[row["idx"]]) is None else it for row in rows])
    scored_N = ~np.isnan(verdict_N)
    verdict, majority = verdict_N[scored_N].astype(int), majority_N[scored_N].astype(int)
    right, of_scored = verdict == majority, drawn.take(scored_N)
    everyone = people(("1", "2", "3"), label_NA, "nominal", drawn)
    table.add_row("PandaLM, three people: Krippendorff's α", *shown(everyone.krippendorff_alpha))
    return [
        counted("PandaLM, judge: right", int(right.sum()), 697),
        counted("PandaLM, judge: unscored", int((~scored_N).sum()), 25),
        counted("PandaLM, judge: scored", int(scored_N.sum()), 974),
        reproduced("PandaLM, judge: accuracy of the scored", of_scored.mean(right.astype(float)), 0.716, 3, table),
        reproduced("PandaLM, judge: κ", kappa(verdict, majority, "nominal", of_scored), 0.493, 3, table),
        *between_people(everyone, table),
    ]


def between_people(everyone: People, table: Table) -> list[Goal]:
    goals = []
    for pair in everyone.pairs:
        agreement, cohen_kappa = PANDALM_PEOPLE[pair.annotators]
        who = f"PandaLM, annotators {' and '.join(pair.annotators)}"
        goals.append(reproduced(f"{who}: agreement", pair.agreement, agreement, 3, table))
        goals.append(reproduced(f"{who}: κ", pair.cohen_kappa, cohen_kappa, 3, table))
    return goals


def reproduced(what: str, found: Interval, published: float, digits: int, table: Table) -> Goal:
    """Met when the published figure is the one found, to its last digit, rounded or cut off."""
    table.add_row(what, *shown(found))
    met = published in (round(found.mean, digits), math.floor(found.mean * 10**digits) / 10**digits)
    return Goal(what, f"{found.mean:.4f}", f"{published:.{digits}f}", met)


def counted(what: str, found: int, published: int) -> Goal:
    return Goal(what, str(found), str(published), found == published)


def shown(interval: Interval) -> tuple[str, str]:
    return f"{interval.mean:.4f}", f"{interval.lower95:.3f} – {interval.upper95:.3f}"


def read(path: Path) -> list[dict[str, Any]]:
    """Raises `DataError` when the file is not there."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; see `python -m benchmarks.public --help` for what the folder holds")
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


if __name__ == "__main__":
    run(public)
