"""Checks the slots of judges: each is a slot of its protocol or a column of the prompts, which every row has."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.check.result import Findings
from rft_pipeline.prompts.reading import source_name
from rft_pipeline.prompts.slots import columns_of, lacking_rows, unknown_slot


def check_slots(
    campaign: Campaign,
    prompts: Mapping[str, pl.DataFrame | None],
    anchors: pl.DataFrame | None,
    rubric: Path,
    settings: Findings,
) -> None:
    """An error for each slot that is no column, and for rows without a column that is shown; a warning for anchors."""
    sources = {"train": campaign.prompts.train, "eval": campaign.prompts.eval}
    files = {source_name(sources[split], campaign.folder): rows for split, rows in prompts.items() if rows is not None}
    if not files:
        return
    columns = sorted({name for rows in files.values() for name in columns_of(rows)})
    held_out = f"{campaign.folder / 'campaign.yaml'}: alarms.held_out"
    places = [(f"{rubric}: {each.name}", each) for each in campaign.rubric.single_criteria]
    places += [(f"{held_out}: {each.name}", each) for criterion in campaign.held_out for each in criterion.singles]
    for where, criterion in places:
        slots = criterion.judge.slots_of(criterion.judge.identity)
        settings.errors += [f"{where}: {each}" for each in _unknown(criterion, slots, columns)]
        shown = list(dict.fromkeys(slot for each in slots.values() for slot in each if slot in columns))
        for file, rows in files.items():
            settings.errors += lacking_rows(file, f"criterion {criterion.name}", shown, rows)
        if anchors is not None:
            found = lacking_rows(str(campaign.anchors_path), f"criterion {criterion.name}", shown, anchors)
            settings.warnings += [f"{each}: an anchor without it is not judged" for each in found]


def _unknown(criterion: Criterion, slots: Mapping[str, Sequence[str]], columns: Sequence[str]) -> Iterator[str]:
    judge = criterion.judge
    for name, found in slots.items():
        for slot in found:
            if slot not in columns:
                yield unknown_slot(name, slot, columns, judge.texts()[name], judge.protocol)
