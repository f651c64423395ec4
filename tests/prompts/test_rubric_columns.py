"""A rubric in every prompt: as docs/rubrics-and-judges.md shows it, what `rft check` says of it, and labelled items."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from rft_pipeline.campaign import PromptSource
from rft_pipeline.campaign.rubric import Rubric
from rft_pipeline.errors import DataError
from rft_pipeline.evaluation.themes import met_by_theme
from rft_pipeline.judges.base import Opinion
from rft_pipeline.judges.checklist import items_of, points
from rft_pipeline.prompts.anchors import read_anchors
from rft_pipeline.prompts.reading import read_rows
from tests.check.small import campaign, check, errors, lines

PAGE = (Path(__file__).parents[2] / "docs" / "rubrics-and-judges.md").read_text(encoding="utf-8")
SECTION = PAGE[PAGE.index("## checklist:") :]
ITEM = {"criterion": "Is kind.", "points": 2}
CASE = [{"name": "case", "judge": {"protocol": "checklist"}}]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)


def rows(start: int, count: int = 8, **more: Any) -> list[dict[str, Any]]:
    """Prompts without a word in common."""
    return [{"id": f"r{i}", "prompt": f"a{i} b{i} c{i} d{i}", **more} for i in range(start, start + count)]


def test_the_worked_example_of_the_documentation_is_read_and_adds_up(tmp_path: Path) -> None:
    rubric, prompts = (yaml.safe_load(block) for block in blocks("yaml"))
    row, anchor = blocks("json")
    (tmp_path / "prompts").mkdir()
    for name, text in (("prompts/train.jsonl", row), ("anchors.jsonl", anchor)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    source = PromptSource.model_validate(prompts["prompts"]["train"])
    read = read_rows(source, tmp_path, rubrics=True).rows
    assert read["id"].to_list() == ["burn-01"]
    items = items_of(json.loads(read["fields"][0]))
    assert [item.points for item in items] == [7, 3, -6]

    def score(*met: int) -> float | None:
        return points(items, [Opinion(float(each), "scored") for each in met]).score

    assert (score(1, 0, 1), score(0, 0, 1)) == (0.1, 0.0)
    anchors = read_anchors(tmp_path / "anchors.jsonl", Rubric.model_validate(rubric))
    assert anchors["labels"].struct.field("case").to_list() == [1, 1]


def test_check_names_every_row_whose_rubric_cannot_be_used_in_one_message(tmp_path: Path) -> None:
    train = rows(0, rubric=[ITEM])
    del train[1]["rubric"]
    train[3]["rubric"] = [ITEM, {"criterion": " ", "points": "5"}]
    held_out = rows(100, rubric=[ITEM])
    held_out[0]["rubric"] = [{**ITEM, "points": -2}]
    anchors = [{"prompt": "a", "completion": "b", "rubric": [ITEM], "labels": {"case": [1]}}]
    assert errors(campaign(tmp_path, CASE, train, held_out, anchors), DataError) == [
        "train.jsonl: line 2: rubric: is missing; a checklist needs a list of items with `criterion` and `points`",
        'train.jsonl: line 4: rubric[1].criterion: must be a text that is not empty, is " "',
        'train.jsonl: line 4: rubric[1].points: must be a number, is "5"',
        "eval.jsonl: line 1: rubric: no item has points above 0, so no reply could earn any",
    ]


def test_check_passes_with_a_rubric_in_every_row_and_needs_none_without_a_checklist(tmp_path: Path) -> None:
    anchors = [{"prompt": "a", "completion": "b", "rubric": [ITEM], "labels": {"case": [1]}}]
    folder = campaign(tmp_path, CASE, rows(0, rubric=[ITEM]), rows(100, rubric=[ITEM]), anchors)
    assert check(folder).train_prompts == 8
    (tmp_path / "other").mkdir()
    assert check(campaign(tmp_path / "other")).train_prompts == 8


def test_labelled_items_become_an_anchor_each_and_a_label_of_the_whole_reply_stays_one(tmp_path: Path) -> None:
    rubric = Rubric.model_validate(
        {"criteria": [*CASE, {"name": "short", "judge": {"protocol": "rule", "rule": {"name": "length"}}}]}
    )
    items = [ITEM, {"criterion": "Is rude.", "points": -1}, {"criterion": "Is long.", "points": 1}]
    reply = {"id": "a", "prompt": "Where?", "completion": "Here.", "rubric": items}
    lines(
        tmp_path / "anchors.jsonl",
        [
            {**reply, "labels": {"case": [1, 0, None], "short": 1}},
            {**reply, "id": "b", "labels": {"case": 0}},
        ],
    )
    anchors = read_anchors(tmp_path / "anchors.jsonl", rubric)
    assert anchors["id"].to_list() == ["a", "a[0]", "a[1]", "b"]
    assert anchors["labels"].to_list() == [
        {"case": None, "short": 1},
        {"case": 1, "short": None},
        {"case": 0, "short": None},
        {"case": 0, "short": None},
    ]
    assert json.loads(anchors["fields"][2])["rubric"] == [{"criterion": "Is rude.", "points": 1}]
    assert json.loads(anchors["fields"][3])["rubric"] == items


@pytest.mark.parametrize(
    ("labels", "rubric", "fault"),
    [
        ([1], [ITEM, ITEM], "labels.case: has 1 labels for the 2 items of `rubric`"),
        (
            [2],
            [ITEM],
            "labels.case: must be 1 (good), 0 (bad) or null (undecided), or a list with one of these an item, is [2]",
        ),
        ([1], None, "rubric: is missing; a checklist needs a list of items with `criterion` and `points`"),
    ],
)
def test_labels_that_do_not_fit_the_items_are_refused_with_their_line(
    tmp_path: Path, labels: Any, rubric: Any, fault: str
) -> None:
    row = {"prompt": "Where?", "completion": "Here.", "labels": {"case": labels}}
    lines(tmp_path / "anchors.jsonl", [row if rubric is None else {**row, "rubric": rubric}])
    with pytest.raises(DataError, match=re.escape(f"line 1: {fault}")):
        read_anchors(tmp_path / "anchors.jsonl", Rubric.model_validate({"criteria": CASE}))


def test_themes_show_the_share_of_items_that_each_policy_meets_apart_from_those_to_avoid() -> None:
    items = [
        {"criterion": "Is kind.", "points": 2, "tags": ["tone", "all"]},
        {"criterion": "Is rude.", "points": -1, "tags": ["tone"]},
        {"criterion": "Is short.", "points": 1},
    ]

    def replies(*raws: str) -> pl.DataFrame:
        fields = json.dumps({"rubric": items})
        return pl.DataFrame({"prompt_id": ["p", "q"], "fields": [fields, fields], "raw": list(raws)})

    policies = {"base": replies("[0, 1, 0]", "[1, 1, null]"), "round 1": replies("[1, 0, 1]", "[1, 1, 1]")}
    found = met_by_theme(policies, resamples=100, seed=1)
    shares = {
        (row["tag"], row["avoid"], row["items"]): [row["met"][name]["mean"] for name in policies] for row in found
    }
    assert shares == {
        ("all", False, 2): [0.5, 1.0],
        ("no tag", False, 2): [0.0, 1.0],
        ("tone", False, 2): [0.5, 1.0],
        ("tone", True, 2): [1.0, 0.5],
    }
