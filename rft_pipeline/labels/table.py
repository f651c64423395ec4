"""A campaign's labels that still answer the rubric's questions.

A label answers the question of its export: the criterion's description and scale. If the rubric now asks people another
question under the same name, the label is not used anywhere. Changes of what the judge is asked do not matter.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.exports import exports_of, label_question
from rft_pipeline.store import labels_table
from rft_pipeline.store.rows import LABELS

HELD_OUT_LABELS = "labels.held_out"
"""Name of the source with people's labels of replies to held-out prompts."""
_NOT_ASKED = "nothing"
"""Question of an export about a criterion that it does not contain; the scale of such labels is unknown."""


@dataclass(frozen=True)
class LeftOut:
    """Labels that answer another question than the rubric's."""

    criterion: str
    labels: int
    asked: str
    """The question of the export, with its scale."""
    asks: str
    """The rubric's question, with its scale."""


def labels_of(campaign: Campaign, store: Path, *, held_out: bool = False) -> pl.DataFrame:
    """The usable labels of a campaign's exports, ordered by id, with the columns of `LABELS`.

    Labels of replies to held-out prompts are separate: only the promotion reads them, so that nothing is trained or
    fitted on them.
    """
    return _counting(_labels(campaign, store, held_out))


def left_out(campaign: Campaign, store: Path, *, held_out: bool = False) -> list[LeftOut]:
    """The labels that `labels_of` leaves out, by criterion and question."""
    return _others(_labels(campaign, store, held_out))


def why_left_out(campaign: Campaign, store: Path) -> list[str]:
    """One line per criterion and question whose labels are left out, with what to do."""
    export = f"rft labels export {campaign.name}"
    found = {export: left_out(campaign, store), f"{export} --held-out": left_out(campaign, store, held_out=True)}
    return [
        f"{each.labels} labels of {each.criterion} are left out: people were asked “{each.asked}”, and the rubric "
        f"now asks “{each.asks}”. Have replies labelled again ({command}); if the meaning is the same, restore the old "
        "text as the criterion's description, which no judge reads"
        for command, skipped in found.items()
        for each in skipped
    ]


def source_of(campaign: Campaign, store: Path, *, held_out: bool = False) -> str | None:
    """A hash of the usable labels and of what is left out; None without labels."""
    found = _labels(campaign, store, held_out)
    labels, others = _counting(found), _others(found)
    if others:
        return fingerprint([content_of(labels), [asdict(each) for each in others]])
    return None if labels.is_empty() else content_of(labels)


def content_of(labels: pl.DataFrame) -> str:
    """A hash of the labels' values, without notes and times."""
    return fingerprint(labels.select("label_id", "value", "inclusion", "split").rows())


def _counting(labels: pl.DataFrame) -> pl.DataFrame:
    return labels.filter(pl.col("asked").is_null()).select(LABELS.names())


def _others(labels: pl.DataFrame) -> list[LeftOut]:
    counts = labels.drop_nulls("asked").group_by("criterion", "asked", "asks").len("labels")
    return [LeftOut(**row) for row in counts.sort("criterion", "asked").iter_rows(named=True)]


def _labels(campaign: Campaign, store: Path, held_out: bool) -> pl.DataFrame:
    """All labels, ordered by id. If they answer another question than the rubric's, `asked` is that question and `asks`
    the rubric's; otherwise both are null."""
    exports = [export for export in exports_of(campaign.name, store) if export.held_out == held_out]
    asks = {criterion.name: label_question(criterion).hint for criterion in campaign.rubric.criteria}
    others = [
        (export.id, name, asked, hint)
        for export in exports
        for name, hint in asks.items()
        if (asked := export.criteria[name].hint if name in export.criteria else _NOT_ASKED) != hint
    ]
    columns = dict.fromkeys(("batch", "criterion", "asked", "asks"), pl.String)
    labels = labels_table(store).rows(pl.col("batch").is_in([export.id for export in exports])).collect()
    other_questions = pl.DataFrame(others, schema=columns, orient="row")
    return labels.join(other_questions, on=["batch", "criterion"], how="left").sort("label_id")
