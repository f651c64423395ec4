"""Classes: which class the replies of each policy named, counted by hand."""

import json
from collections import Counter
from typing import Any

import polars as pl
import pytest

from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.evaluation.classes import class_numbers, compare_classes, label_rules
from rft_pipeline.evaluation.compare import RoundRows, compare_rounds
from rft_pipeline.report.page import render_page
from tests.report.narrow import wrong_labels
from tests.report.test_page import ATTACK, round_rows

LABELS = ("allow", "remove", "review")
RULE = {"protocol": "rule", "rule": {"name": "label", "labels": LABELS, "column": "decision"}}
OTHER_RULE = {"protocol": "rule", "rule": {"name": "length"}}


def test_precision_recall_and_f1_are_those_of_the_table() -> None:
    """10 replies: allow 3 right, 1 remove; remove 2 right, 1 allow, 2 none; review 1 remove. 5 have no label."""
    found = class_numbers(
        Counter(
            {
                ("allow", "allow"): 3,
                ("allow", "remove"): 1,
                ("remove", "remove"): 2,
                ("remove", "allow"): 1,
                ("remove", None): 2,
                ("review", "remove"): 1,
                (None, "allow"): 4,
                (None, None): 1,
            }
        ),
        LABELS,
    )
    allow, remove, review = found["classes"]
    assert (allow["replies"], allow["named"], allow["none"]) == (4, {"allow": 3, "remove": 1, "review": 0}, 0)
    assert (allow["precision"], allow["recall"], allow["f1"]) == (3 / 4, 3 / 4, 3 / 4)
    assert (remove["precision"], remove["recall"], remove["f1"]) == (2 / 4, 2 / 5, pytest.approx(4 / 9))
    assert (remove["none"], review["precision"], review["recall"], review["f1"]) == (2, None, 0, 0)
    assert (found["replies"], found["right"], found["none"], found["unlabelled"]) == (10, 0.5, 0.2, 5)
    assert found["f1"] == pytest.approx((3 / 4 + 4 / 9 + 0) / 3)


def test_a_class_without_replies_is_not_in_the_mean() -> None:
    found = class_numbers(Counter({("allow", "allow"): 2}), LABELS)
    assert [each["f1"] for each in found["classes"]] == [1, None, None]
    assert found["f1"] == 1
    assert class_numbers(Counter(), LABELS)["f1"] is None


def criterion(name: str, judge: dict[str, Any]) -> Criterion:
    return Criterion.model_validate({"name": name, "judge": judge})


def test_label_rules_are_found_in_panels_too() -> None:
    panel = {"protocol": "panel", "members": [OTHER_RULE, RULE]}
    found = label_rules([criterion("kind", OTHER_RULE), criterion("right", RULE), criterion("both", panel)])
    assert list(found) == ["right", "both.2"]


def rows(number: int, replies: list[str]) -> pl.DataFrame:
    fields = [json.dumps({"decision": decision}) for decision in ("allow", "REMOVE", "remove", None)]
    return round_rows(number, prompts=4).with_columns(
        pl.Series("completion", replies), pl.Series("fields", fields, dtype=pl.String)
    )


def test_the_page_shows_every_policy_and_what_the_first_and_the_last_named() -> None:
    rounds = [
        RoundRows(0, "p0", rows(0, ["remove"] * 4), "warm start"),
        RoundRows(1, "p1", rows(1, ["Allow.", "remove", ATTACK, "allow"])),
    ]
    base = RoundRows(-1, "p", rows(0, [""] * 4), "base")
    report = compare_rounds(rounds, ["polite"], resamples=100, seed=0, other=base)
    report["classes"] = compare_classes([*rounds, base], label_rules([criterion("right", RULE)]))
    numbers = report["classes"]["right"]
    assert {name: each["right"] for name, each in numbers.items()} == {
        "warm start": 2 / 3,
        "round 1": 2 / 3,
        "base": 0,
    }
    assert numbers["round 1"]["classes"][1]["named"] == {"allow": 0, "remove": 1, "review": 0}
    assert numbers["round 1"]["classes"][1]["none"] == 1

    page = render_page(report, {each.round: each.rows for each in rounds}, "Title", "")
    assert wrong_labels(page) == []
    section = page[page.index('<section id="classes-right">') :].split("</section>")[0]
    assert [section.count(f'<td data-label="Policy">{name}</td>') for name in ("base", "warm start", "round 1")] == [
        4,
        4,
        4,
    ]
    assert "What warm start named" in section
    assert "What round 1 named" in section
    assert '<tr><td>remove</td><td class="n">0</td><td class="n hit">1</td><td class="n">0</td>' in section
    assert "67 % right, 33 % name none" in section
    assert "Replies to prompts without a label are not counted: 1." in section
