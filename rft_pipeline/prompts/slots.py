"""Columns as slots: `policy.system` filled from each prompt's row, and findings about slots.

The filled `policy.system` becomes the first turn of the prompt's messages, marked as the campaign's. So it is part of
the prompt's id, and whatever reads the messages (sampling, evaluation, training, pages) has the same conversation. A
prompt with a system turn of its own keeps it and needs no columns.
"""

import difflib
import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import polars as pl

from rft_pipeline.campaign.addresses import POLICY_SYSTEM
from rft_pipeline.fingerprint import canonical_json, fingerprint
from rft_pipeline.prompts.rows import refuse
from rft_pipeline.rules.slots import column_texts, fill, has_slots, in_braces, is_slot_name, lacking, slots_in

ROWS_NAMED = 5
"""Rows that a finding names."""


def with_system(prompts: pl.DataFrame, system: str | None, where: str) -> pl.DataFrame:
    """The prompts (columns of `reading.PROMPTS`) with `policy.system` in front of their messages, if it has slots.

    Raises `DataError` with all problems: slots that are no column of `where`, and rows that lack a column.
    """
    if system is None or not has_slots(system):
        return prompts
    slots, known = slots_in(system), columns_of(prompts)
    refuse([f"{where}: {unknown_slot(POLICY_SYSTEM, slot, known)}" for slot in slots if slot not in known])
    needing = [row["id"] for row in prompts.iter_rows(named=True) if not _has_system(row)]
    refuse(list(lacking_rows(where, POLICY_SYSTEM, slots, prompts.filter(pl.col("id").is_in(needing)))))
    return pl.DataFrame([_filled(row, system, slots) for row in prompts.iter_rows(named=True)], schema=prompts.schema)


def columns_of(rows: pl.DataFrame) -> list[str]:
    """The columns that slots can name, of rows with `fields`."""
    return sorted({name for text in rows["fields"] for name in json.loads(text) if is_slot_name(name)})


def unknown_slot(what: str, slot: str, columns: Sequence[str], own: Collection[str] = (), protocol: str = "") -> str:
    """That a text has a slot that is no column, with all slots that it may have."""
    close = difflib.get_close_matches(slot, [*own, *columns], n=1)
    hint = f" (did you mean {in_braces(close)}?)" if close else ""
    slots = f"slots of {protocol}: {in_braces(sorted(own))}; " if own else ""
    return (
        f"{what}: unknown slot {in_braces([slot])}{hint}; {slots}columns of the prompts: {in_braces(columns)}; "
        f"for the text {in_braces([slot])} itself, write {{{in_braces([slot])}}}"
    )


def lacking_rows(where: str, what: str, slots: Sequence[str], rows: pl.DataFrame) -> Iterator[str]:
    """For each column that `what` shows, the rows that have no value in it."""
    for slot in slots:
        names = [
            name for name, fields in rows.select("id", "fields").iter_rows() if lacking(json.loads(fields), [slot])
        ]
        if names:
            more = f" and {len(names) - ROWS_NAMED} more" if len(names) > ROWS_NAMED else ""
            yield (
                f"{where}: {', '.join(names[:ROWS_NAMED])}{more}: no value in the column {slot!r}, which {what} shows; "
                "fill it in or remove the row"
            )


def _has_system(row: dict[str, Any]) -> bool:
    return bool(json.loads(row["messages"])[0]["role"] == "system")


def _filled(row: dict[str, Any], system: str, slots: Sequence[str]) -> dict[str, Any]:
    if _has_system(row):
        return row
    text = fill(system, column_texts(json.loads(row["fields"]), slots))
    messages = [{"role": "system", "content": text, "from": POLICY_SYSTEM}, *json.loads(row["messages"])]
    return {**row, "prompt_id": fingerprint(messages), "messages": canonical_json(messages)}
