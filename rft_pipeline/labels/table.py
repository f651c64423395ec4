"""A campaign's labels, as they stand in the table and as far as they count.

A label answers what its export asked: the criterion's description and scale, as people read them. Once the rubric asks
something else under the same name, it is left out wherever labels are used. What a judge is asked is not looked at.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.exports import exports_of, label_question
from rft_pipeline.store import labels_table
from rft_pipeline.store.tables import LABELS

HELD_OUT_LABELS = "labels.held_out"
"""The source of what people said of replies to held-out prompts."""
_NOT_ASKED = "nothing"
"""What an export asked about a criterion that it did not hold: nobody knows on which scale the labels are."""


@dataclass(frozen=True)
class LeftOut:
    """Labels that answer something else than the rubric asks now."""

    criterion: str
    labels: int
    asked: str
    """What people were asked, and on which scale."""
    asks: str
    """What they would be asked now."""


def labels_of(campaign: Campaign, store: Path, *, held_out: bool = False) -> pl.DataFrame:
    """Every label of a campaign's exports that counts, ordered by its id, with the columns of `LABELS`.

    Those of replies to held-out prompts stand apart: only the promotion reads them, so that nothing is trained, or
    fitted, on what people say there.
    """
    return _counting(_labels(campaign, store, held_out))


def left_out(campaign: Campaign, store: Path, *, held_out: bool = False) -> list[LeftOut]:
    """The labels that `labels_of` leaves out, by criterion and what was asked."""
    return _others(_labels(campaign, store, held_out))


def why_left_out(campaign: Campaign, store: Path) -> list[str]:
    """A line for all labels of one criterion that are left out for the same reason, with what to do."""
    again = f"rft labels export {campaign.name}"
    found = {again: left_out(campaign, store), f"{again} --held-out": left_out(campaign, store, held_out=True)}
    return [
        f"{each.labels} labels of {each.criterion} are left out: people were asked “{each.asked}”, and the rubric "
        f"now asks “{each.asks}”. Have replies labelled again ({how}); where the meaning is the same, put what "
        "they were asked back as the criterion's description, which no judge reads"
        for how, those in found.items()
        for each in those
    ]


def source_of(campaign: Campaign, store: Path, *, held_out: bool = False) -> str | None:
    """A hash of the labels that count, and of how many are left out and why; None where nobody labelled anything."""
    found = _labels(campaign, store, held_out)
    labels, others = _counting(found), _others(found)
    if others:
        return fingerprint([content_of(labels), [asdict(each) for each in others]])
    return None if labels.is_empty() else content_of(labels)


def content_of(labels: pl.DataFrame) -> str:
    """A hash of what was said: not of notes, nor of when."""
    return fingerprint(labels.select("label_id", "value", "inclusion", "split").rows())


def _counting(labels: pl.DataFrame) -> pl.DataFrame:
    return labels.filter(pl.col("asked").is_null()).select(LABELS.names())


def _others(labels: pl.DataFrame) -> list[LeftOut]:
    counts = labels.drop_nulls("asked").group_by("criterion", "asked", "asks").len("labels")
    return [LeftOut(**row) for row in counts.sort("criterion", "asked").iter_rows(named=True)]


def _labels(campaign: Campaign, store: Path, held_out: bool) -> pl.DataFrame:
    """All labels, ordered by id; where they answer something else than is asked now, what they answer as `asked`, and
    what is asked as `asks`."""
    exports = [export for export in exports_of(campaign.name, store) if export.held_out == held_out]
    asks = {criterion.name: label_question(criterion).hint for criterion in campaign.rubric.criteria}
    others = [
        (export.id, name, asked, hint)
        for export in exports
        for name, hint in asks.items()
        if (asked := export.criteria[name].hint if name in export.criteria else _NOT_ASKED) != hint
    ]
    columns = dict.fromkeys(("batch", "criterion", "asked", "asks"), pl.String)
    there = labels_table(store).rows(pl.col("batch").is_in([export.id for export in exports])).collect()
    elsewhere = pl.DataFrame(others, schema=columns, orient="row")
    return there.join(elsewhere, on=["batch", "criterion"], how="left").sort("label_id")
