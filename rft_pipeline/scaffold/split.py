"""Splits one file of prompts into train and eval prompts."""

from dataclasses import dataclass
from typing import Any

from rft_pipeline.errors import DataError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.prompts.overlap import overlaps
from rft_pipeline.prompts.reading import SourceRows, merge_duplicates
from rft_pipeline.prompts.rows import Row

MOST = 100
"""Maximum number of eval prompts."""
ENOUGH = 30
"""Number of eval prompts that is taken where there are three times as many prompts."""


@dataclass(frozen=True)
class Split:
    """Rows as they are in the file."""

    train: list[dict[str, Any]]
    eval: list[dict[str, Any]]
    near: int
    """Prompts left out, because they are nearly the same as an eval prompt."""


def eval_share(prompts: int, least: int) -> int:
    """How many of so many different prompts are drawn for evaluation: a fifth, at most `MOST`.

    At least `ENOUGH` if that leaves two thirds to train on, and at least `least` if that leaves a third.
    """
    few = max(min(ENOUGH, prompts // 3), least if 3 * (prompts - least) >= prompts else 0)
    return min(MOST, max(prompts // 5, few))


def split(rows: list[Row], read: SourceRows, seed: int, where: str, least: int, count: int | None = None) -> Split:
    """Draw `count` of the different prompts for evaluation (default: `eval_share`), by the seed and the prompt's text.
    Rows with the same prompt go together.

    Raises `DataError` if there are too few prompts.
    """
    unique = merge_duplicates(read.rows).rows
    ranked = sorted(unique["prompt_id"], key=lambda prompt_id: seed_of(seed, "eval split", prompt_id))
    if count is not None and count >= len(ranked):
        raise DataError(f"{where}: --eval-rows {count} leaves none of the {len(ranked)} different prompts to train on")
    count = eval_share(len(ranked), least) if count is None else count
    held_out = set(ranked[:count])
    train = unique.filter(~unique["prompt_id"].is_in(held_out))
    pairs = overlaps(unique.filter(unique["prompt_id"].is_in(held_out)), train)
    near_ids = {pair.eval_id for pair in pairs}
    near = {prompt_id for prompt_id, name in train.select("prompt_id", "id").iter_rows() if name in near_ids}
    if not count or len(near) == train.height:
        raise DataError(
            f"{where}: {unique.height} different prompts, {len(near)} of them nearly the same as one drawn for "
            "evaluation; too few to split: give the eval prompts in a file of their own with --eval"
        )
    chosen: dict[str, set[int]] = {"train": set(), "eval": set()}
    for number, prompt_id in zip(read.numbers, read.rows["prompt_id"], strict=True):
        if prompt_id not in near:
            chosen["eval" if prompt_id in held_out else "train"].add(number)
    chosen["train"] -= chosen["eval"]  # an episode of verifiers may have several prompts
    values = {split: [row.values for row in rows if row.number in numbers] for split, numbers in chosen.items()}
    return Split(values["train"], values["eval"], len(near))
