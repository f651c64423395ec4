"""The labelled replies of one criterion, divided by prompt into a half that chooses and a half that decides."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from rft_pipeline.audit.rows import audit_rows, people_rows, rows_to_judge
from rft_pipeline.campaign import Audit, Campaign
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.errors import GateError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.labels.exports import labelled_replies
from rft_pipeline.labels.table import labels_of
from rft_pipeline.progress import counted
from rft_pipeline.prompts.anchors import anchors_of


class Half(NamedTuple):
    """Labelled replies, with the columns of `audit_rows`. Replies to one prompt have the same `prompt_id`, whether they
    are anchors or rollouts."""

    rows: pl.DataFrame
    good: int
    bad: int
    prompts: tuple[str, ...]

    @property
    def words(self) -> str:
        return f"{self.good} good and {self.bad} bad labels of {counted(len(self.prompts), 'prompt')}"

    def has(self, audit: Audit) -> bool:
        """Whether it has the labels that a verdict of the audit needs."""
        return min(self.good, self.bad) >= audit.min_per_side and len(self.prompts) >= audit.min_prompts


class Halves(NamedTuple):
    choosing: Half
    held_out: Half


def labelled_rows(campaign: Campaign, store: Path, criterion: Criterion) -> pl.DataFrame:
    """The anchors and the rollouts that people labelled for a criterion. Labels of held-out prompts are not among them.

    Raises `GateError` if there are none.
    """
    labels = labels_of(campaign, store)
    rows = people_rows(labels, labelled_replies(campaign.name, store, labels), campaign.rubric.names)
    if campaign.anchors_path is not None:
        rows = audit_rows(anchors_of(campaign), 0, campaign.seed, rows)
    found = rows_to_judge(rows, criterion)
    if found.is_empty():
        raise GateError(f"{criterion.name}: nothing is labelled; {_how(campaign)}")
    return found.with_columns(pl.col("prompt_id").min().over("messages")).with_columns(
        pl.col("prompt_id").min().over("prompt_id")
    )


def halves(campaign: Campaign, criterion: Criterion, rows: pl.DataFrame) -> Halves:
    """Divide the labels, by the campaign's seed and the criterion's name. A prompt that is added or removed moves at
    most one other prompt.

    Raises `GateError` if one half has too few labels.
    """
    prompts = sorted(
        rows["prompt_id"].unique(),
        key=lambda prompt: seed_of(campaign.seed, "rubric suggest", criterion.name, prompt),
    )
    middle = len(prompts) // 2
    found = Halves(_half(rows, criterion, prompts[middle:]), _half(rows, criterion, prompts[:middle]))
    audit = campaign.audit or Audit()
    if not (found.choosing.has(audit) and found.held_out.has(audit)):
        raise GateError(
            f"{criterion.name}: too few labels: the half that chooses has {found.choosing.words}, the half that "
            f"decides {found.held_out.words}; each needs {audit.min_per_side} good and {audit.min_per_side} bad labels "
            f"of {audit.min_prompts} prompts (audit.min_per_side, audit.min_prompts). {_how(campaign)}"
        )
    return found


def _half(rows: pl.DataFrame, criterion: Criterion, prompts: list[str]) -> Half:
    mine = rows.filter(pl.col("prompt_id").is_in(prompts))
    good = mine.filter(pl.col("labels").struct.field(criterion.name) >= 0.5).height
    return Half(mine, good, mine.height - good, tuple(sorted(prompts)))


def _how(campaign: Campaign) -> str:
    return f"Label replies (`rft labels export {campaign.name}`) or add anchors"
