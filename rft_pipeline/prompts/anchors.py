"""Reads anchors from files into tables, and checks each row."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.rubric import Rubric
from rft_pipeline.errors import DataError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.judges import ChecklistJudge
from rft_pipeline.judges.checklist import RUBRIC, items_of, rubric_faults
from rft_pipeline.prompts.reading import canonical, messages_of, name_of, text_in
from rft_pipeline.prompts.rows import Row, jsonl_rows, refuse, shown

FINISH_REASONS = ("stop", "length")
_ANCHOR_KEYS = ("id", "prompt_id", "prompt", "completion", "finish_reason", "labels", "source", "by")


def anchors_of(campaign: Campaign) -> pl.DataFrame:
    """The anchors of a campaign that has some. Labels of judges of the alarms are allowed and left out: the audit does
    not measure these."""
    assert campaign.anchors_path is not None
    return read_anchors(campaign.anchors_path, campaign.rubric, [each.name for each in campaign.held_out])


def read_anchors(path: Path, rubric: Rubric, ignored: Collection[str] = ()) -> pl.DataFrame:
    """Labelled replies (JSON Lines): id, prompt_id, messages, completion, finish_reason, fields, labels, source, by.

    A reply whose rubric's items are labelled becomes one anchor an item, with that item alone as its rubric.

    Labels of criteria in `ignored` are left out.

    `prompt_id` names the group of anchors that share a prompt. `labels` is a struct with a field for each criterion of
    the rubric: 0, 1, or null for no label. `by` is the model that wrote the reply, or null. A completion may be empty.
    `fields` holds the row's other keys.

    Raises `DataError` with a line for each row that cannot be used or has the id of an earlier one.
    """
    if path.suffix not in (".jsonl", ".ndjson"):
        raise DataError(f"{path}: anchors are JSON Lines (.jsonl), with a row like {_example(rubric)}")
    findings: list[str] = []
    anchors: list[dict[str, Any]] = []
    first: dict[str, str] = {}
    for row in jsonl_rows(path, findings):
        try:
            _check_keys(row, rubric)
            anchor = _anchor(row, path.name)
            if (place := first.setdefault(anchor["id"], row.place)) != row.place:
                raise DataError(f"id: {anchor['id']} is the id of {place} too; each row needs its own id")
            anchors += _anchors(anchor, row.values["labels"], rubric, ignored)
        except DataError as error:
            findings.append(f"{path}: {row.place}: {error}")
    refuse(findings)
    if not anchors:
        raise DataError(
            f"{path}: contains no anchors; add rows like {_example(rubric)}, or remove `anchors` from campaign.yaml"
        )
    texts = dict.fromkeys(("id", "prompt_id", "messages", "completion", "finish_reason", "fields"), pl.String)
    labels = pl.Struct(dict.fromkeys(rubric.names, pl.Int64))
    return pl.DataFrame(anchors, schema={**texts, "labels": labels, "source": pl.String, "by": pl.String})


def _example(rubric: Rubric) -> str:
    """A row as it should be."""
    labels = json.dumps({name: place % 2 for place, name in enumerate(rubric.names[:2], start=1)})
    return f'{{"prompt": "…", "completion": "…", "labels": {labels}}} (1: good, 0: bad)'


def _check_keys(row: Row, rubric: Rubric) -> None:
    if absent := [key for key in ("prompt", "completion", "labels") if row.values.get(key) is None]:
        raise DataError(f"has no {' and no '.join(absent)}; write it like {_example(rubric)}")


def _anchors(anchor: dict[str, Any], labels: Any, rubric: Rubric, ignored: Collection[str]) -> Iterator[dict[str, Any]]:
    """The anchor with its labels, and one for each item that is labelled."""
    found = _labels(labels, rubric, ignored)
    of_items = {name: label for name, label in found.items() if isinstance(label, list)}
    whole = {name: None if name in of_items else label for name, label in found.items()}
    if not of_items or any(label is not None for label in whole.values()):
        yield {**anchor, "labels": whole, "fields": canonical(anchor["fields"])}
    if of_items and (faults := "; ".join(rubric_faults(anchor["fields"].get(RUBRIC)))):
        raise DataError(faults)
    items = items_of(anchor["fields"])
    for name, each in of_items.items():
        if len(each) != len(items):
            raise DataError(f"labels.{name}: has {len(each)} labels for the {len(items)} items of `{RUBRIC}`")
    for place, item in enumerate(items if of_items else ()):
        here = {name: each[place] for name, each in of_items.items()}
        if any(label is not None for label in here.values()):
            alone = {**anchor["fields"], RUBRIC: [{"criterion": item.criterion, "points": 1}]}
            only = {**dict.fromkeys(rubric.names), **here}
            yield {**anchor, "id": f"{anchor['id']}[{place}]", "labels": only, "fields": canonical(alone)}


def _anchor(row: Row, file: str) -> dict[str, Any]:
    """An anchor without its labels."""
    values = row.values
    messages = messages_of(values.get("prompt"), "prompt")
    reason = values.get("finish_reason", "stop")
    if reason not in FINISH_REASONS:
        raise DataError(f"finish_reason: must be {' or '.join(FINISH_REASONS)}, is {shown(reason)}")
    return {
        "id": name_of(values.get("id"), "id", f"{file}:{row.number}"),
        "prompt_id": text_in(values.get("prompt_id", fingerprint(messages)), "prompt_id"),
        "messages": canonical(messages),
        "completion": text_in(values.get("completion"), "completion"),
        "finish_reason": reason,
        "fields": {key: value for key, value in values.items() if key not in _ANCHOR_KEYS},
        **{key: None if values.get(key) is None else text_in(values[key], key) for key in ("source", "by")},
    }


def _labels(value: Any, rubric: Rubric, ignored: Collection[str]) -> dict[str, Any]:
    """The labels by criterion: 0, 1 or null, or for a checklist also a list of these."""
    checklists = [each.name for each in rubric.criteria if isinstance(each.judge, ChecklistJudge)]
    criteria = rubric.names
    if not isinstance(value, dict):
        raise DataError(f"labels: must map criteria to labels, like {_example(rubric)}, is {shown(value)}")
    for name, label in value.items():
        if name not in criteria and name not in ignored:
            raise DataError(f"labels.{name}: the rubric has no such criterion; it has: {', '.join(criteria)}")
        every = label if isinstance(label, list) and name in checklists else [label]
        if any(each is not None and (type(each) is not int or each not in (0, 1)) for each in every):
            items = ", or a list with one of these an item" if name in checklists else ""
            raise DataError(f"labels.{name}: must be 1 (good), 0 (bad) or null (undecided){items}, is {shown(label)}")
    return {name: value.get(name) for name in criteria}
