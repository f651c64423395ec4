"""Looks: how many decisions used the same held-out prompts, and the error that each may spend.

`<home>/looks/<campaign>.json` lists, for each set of held-out prompts (by content), the decisions made on it, oldest
first. A decision is identified by everything it was made from, so repeating it is the same look and spends nothing.
Another set of held-out prompts starts a new budget.

Look k may be wrong with probability at most error / (k(k+1)), shared equally among the rounds that it compares. These
levels sum to the error over any number of looks (α spending by the union bound, which allows dependent looks).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from rft_pipeline.errors import StoreError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.store.shared import write_through

Item = TypeVar("Item")

FOLDER = "looks"
LOOK = "look"
"""Name of the look's number in the inputs of a promotion's payload."""

LOOKS = "champion.looks"
"""Name of the source with all looks of a campaign, as JSON."""

Looks = dict[str, list[str]]
"""Content hash of held-out prompts → decisions made on them, oldest first."""


def path_of(root: Path, campaign: str) -> Path:
    """The file of a campaign's looks; `root` is the home."""
    return root / FOLDER / f"{campaign}.json"


def read(root: Path, campaign: str) -> Looks:
    """All looks of a campaign; empty before the first decision. Raises `StoreError` for a file it cannot read."""
    advice = "restore it from a backup. Without this file the error budget of promotions starts again"
    return read_lists(path_of(root, campaign), str, advice)


def read_lists(path: Path, item: Callable[[Any], Item], advice: str) -> dict[str, list[Item]]:
    """The lists of a file of looks, by name; empty if there is none. Raises `StoreError` that ends with `advice`."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): [item(each) for each in listed] for name, listed in stored.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: cannot be read: {error}; {advice}") from error


def write_lists(path: Path, lists: Mapping[str, Sequence[Any]]) -> None:
    """Write a file of looks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_through(path, json.dumps(lists, indent=2) + "\n")


def look_number(looks: Looks, prompts: str, decision: str) -> int:
    """Number of a decision's look, from 1: its existing number, or the next."""
    made = looks.get(prompts, [])
    return made.index(decision) + 1 if decision in made else len(made) + 1


def decision_of(payload: dict[str, Any]) -> str:
    """Identity of a decision: the fingerprint of everything it is made from except its number."""
    inputs = {name: value for name, value in payload["inputs"].items() if name != LOOK}
    return fingerprint({**payload, "inputs": inputs})


def count(root: Path, campaign: str, payload: dict[str, Any]) -> None:
    """Record a promotion's decision if it is new. Call while holding the stage's lock."""
    looks, decision = read(root, campaign), decision_of(payload)
    made = looks.setdefault(payload["inputs"]["prompts"], [])
    if decision in made:
        return
    made.append(decision)
    write_lists(path_of(root, campaign), looks)


def spent(error: float, look: int) -> float:
    """The part of `error` that look k spends: error / (k(k+1))."""
    return error / (look * (look + 1))


def left(error: float, look: int) -> float:
    """The part of `error` left for all later looks: error / (k+1)."""
    return error / (look + 1)


def confidence(level: float) -> str:
    """The confidence of an interval whose bounds are each wrong with probability `level`: 0.025 is `95 %`. The distance
    to 100 % has two significant digits, so that it never rounds to 100 %."""
    return f"{100 - Decimal(f'{200 * level:.2g}').normalize():f} %"
