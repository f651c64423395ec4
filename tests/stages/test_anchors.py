"""Anchors: labelled replies, and those that cannot be used."""

import json
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.campaign.rubric import Rubric
from rft_pipeline.errors import DataError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.prompts.anchors import read_anchors

RUBRIC = Rubric.model_validate(
    {
        "criteria": [
            {"name": "finishes", "judge": {"protocol": "rule", "rule": {"name": "finishes"}}},
            {"name": "short", "judge": {"protocol": "rule", "rule": {"name": "length", "max_words": 9}}},
        ]
    }
)


def anchors(folder: Path, *rows: dict[str, Any]) -> None:
    (folder / "anchors.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_an_anchor_carries_a_label_or_null_for_each_criterion(tmp_path: Path) -> None:
    row = {
        "id": "a1",
        "prompt_id": "g1",
        "prompt": "Where?",
        "completion": "",
        "finish_reason": "length",
        "labels": {"finishes": 0},
        "source": "author",
        "by": "Qwen/Qwen3-0.6B",
        "kind": "empty",
        "needs_order_number": True,
    }
    anchors(tmp_path, row, {"prompt": "Why?", "completion": "So.", "labels": {"short": 1}})
    first, second = read_anchors(tmp_path / "anchors.jsonl", RUBRIC).to_dicts()
    assert first == {
        "id": "a1",
        "prompt_id": "g1",
        "messages": '[{"content":"Where?","role":"user"}]',
        "completion": "",
        "finish_reason": "length",
        "fields": '{"kind":"empty","needs_order_number":true}',
        "labels": {"finishes": 0, "short": None},
        "source": "author",
        "by": "Qwen/Qwen3-0.6B",
    }
    assert (second["id"], second["finish_reason"], second["source"]) == ("anchors.jsonl:2", "stop", None)
    assert second["prompt_id"] == fingerprint([{"role": "user", "content": "Why?"}])


EXAMPLE = '{"prompt": "…", "completion": "…", "labels": {"finishes": 1, "short": 0}} (1: good, 0: bad)'


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"labels": {"kind": 1}}, "labels.kind: the rubric has no such criterion; it has: finishes, short"),
        ({"labels": {"short": 2}}, "labels.short: must be 1 (good), 0 (bad) or null (undecided), is 2"),
        ({"labels": {"short": True}}, "labels.short: must be 1 (good), 0 (bad) or null (undecided), is true"),
        ({"labels": {"short": 1.0}}, "labels.short: must be 1 (good), 0 (bad) or null (undecided), is 1.0"),
        ({"labels": None}, f"has no labels; write it like {EXAMPLE}"),
        ({"labels": 1}, f"labels: must map criteria to labels, like {EXAMPLE}, is 1"),
        ({"finish_reason": "eos"}, 'finish_reason: must be stop or length, is "eos"'),
        ({"completion": None}, f"has no completion; write it like {EXAMPLE}"),
        ({"prompt": ""}, "prompt: is empty"),
        ({"source": 3}, "source: must be a text, is 3"),
        ({"by": 3}, "by: must be a text, is 3"),
    ],
)
def test_an_anchor_that_cannot_be_used_is_refused(tmp_path: Path, change: dict[str, Any], finding: str) -> None:
    good = {"prompt": "Where?", "completion": "There.", "labels": {"short": 1}}
    anchors(tmp_path, good, {**good, **change})
    with pytest.raises(DataError) as caught:
        read_anchors(tmp_path / "anchors.jsonl", RUBRIC)
    assert str(caught.value) == f"{tmp_path / 'anchors.jsonl'}: line 2: {finding}"


def test_an_empty_anchors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "anchors.jsonl").write_text("\n")
    with pytest.raises(
        DataError, match=r"contains no anchors; add rows like .*, or remove `anchors` from campaign\.yaml"
    ):
        read_anchors(tmp_path / "anchors.jsonl", RUBRIC)


def test_a_table_of_anchors_is_refused_with_a_row_as_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "anchors.csv"
    path.write_text("prompt,completion,short\nWhere?,There.,1\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_anchors(path, RUBRIC)
    assert str(caught.value) == f"{path}: anchors are JSON Lines (.jsonl), with a row like {EXAMPLE}"
