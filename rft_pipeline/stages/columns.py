"""Columns of the prompts as inputs of stages: each column has a hash of its own, and a stage names those that it uses.

So an edit of a column that nothing uses makes nothing again.
"""

import json
from collections.abc import Iterable
from typing import Any

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.campaign.subjects import columns_read
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.prompts.reading import content_hash
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.store import Record

COLUMN = "column."
"""How the name of an input begins that is a column of the prompts."""


def parts_of(prompts: pl.DataFrame, split: str) -> dict[str, str]:
    """The hash of a split's messages, and one of each of its columns, as parts of the record of prompts."""
    fields = [json.loads(text) for text in prompts["fields"]]
    names = sorted({name for row in fields for name in row})
    columns = {
        f"{split}.{name}": fingerprint(
            [[prompt_id, row[name]] for prompt_id, row in zip(prompts["prompt_id"], fields, strict=True) if name in row]
        )
        for name in names
    }
    return {split: content_hash(prompts.drop("fields")), **columns}


def columns_of(record: Record, split: str, names: Iterable[str] | None) -> dict[str, str]:
    """The hashes of columns of a split, as inputs of a stage; None: of all columns. Columns that no row has are left
    out."""
    found = {
        name.removeprefix(f"{split}."): part for name, part in record.parts.items() if name.startswith(f"{split}.")
    }
    return {f"{COLUMN}{name}": part for name, part in found.items() if names is None or name in names}


def read_by(criteria: Iterable[Criterion]) -> list[str] | None:
    """The columns that the scores of criteria may depend on; None if any may count."""
    return columns_read([each.payload["judge"] for each in criteria])


def trained_on(campaign: Campaign) -> list[str] | None:
    """The columns that the training of a round may depend on; None if any may count."""
    names = read_by(campaign.rubric.criteria)
    return names if names is None or not campaign.training.how.parts else sorted({*names, REFERENCE})


def narrowed(fields: Iterable[str], names: Iterable[str] | None) -> list[str]:
    """Rows of columns (JSON) without the columns that do not count."""
    if names is None:
        return list(fields)
    kept: list[dict[str, Any]] = [json.loads(text) for text in fields]
    return [json.dumps({name: row[name] for name in names if name in row}) for row in kept]
