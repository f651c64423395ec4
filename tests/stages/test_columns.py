"""A column of the prompts counts only for the stages that use it."""

from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.campaign.subjects import subjects_of
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.prompts.reading import read_prompts
from rft_pipeline.rules import RULES, Rollout
from rft_pipeline.stages.columns import parts_of
from rft_pipeline.stages.graph import nodes, payload
from rft_pipeline.store import Record
from tests.check.small import EVAL, POLITE, TRAIN, campaign, lines, rule

SOURCES = {"prompts.train": "t", "prompts.eval": "e", "policy": "p", "judge": "j"}
ROW = {"context": "It ships in 3 days.", "policy": "Be brief.", "note": "n"}
ASKS = {"name": "grounded", "judge": {"protocol": "binary", "question": "Does it follow {context}?"}}


def made_from(folder: Path) -> dict[str, str]:
    """The fingerprint of each node, with the prompts as they are in the files."""
    read, here = read_prompts(load_campaign(folder)).rows, load_campaign(folder)
    parts = {
        name: part for split in ("train", "eval") for name, part in parts_of(read.filter(split=split), split).items()
    }
    parts |= dict.fromkeys(("choices", "noise"), "other")
    found = {}
    for node in nodes(here):
        above = {
            role: Record(f"small/{name}", "f", {}, name, parts=parts, rows={"labels": 0})
            for role, name in node.upstream.items()
        }
        found[node.name] = fingerprint(payload(here, node, above, SOURCES))
    return found


def changed_by(tmp_path: Path, criteria: list[dict[str, Any]], edited: dict[str, Any], **settings: Any) -> set[str]:
    """The nodes that an edit of every row makes again, other than the prompts themselves."""
    rows = {"train": [{**row, **ROW} for row in TRAIN], "held_out": [{**row, **ROW} for row in EVAL]}
    folder = campaign(tmp_path, criteria, settings={"rounds": 1, **settings}, **rows)
    before = made_from(folder)
    for name, each in (("train", rows["train"]), ("eval", rows["held_out"])):
        lines(folder / f"{name}.jsonl", [{**row, **edited} for row in each])
    after = made_from(folder)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("steps", [None, 1])
def test_a_column_that_nothing_uses_makes_nothing_again(tmp_path: Path, steps: int | None) -> None:
    training = {"steps_per_generation": steps, "batch_size": 8}
    criteria = [
        ASKS,
        {"name": "polite", "judge": POLITE},
        {"name": "short", "judge": rule("asks_for", pattern="x", when="urgent")},
    ]
    edited = {"note": "other", "policy": "Be long.", "new": 1}
    assert changed_by(tmp_path, criteria, edited, training=training) == set()


@pytest.mark.parametrize(
    ("criterion", "column"),
    [(ASKS, "context"), ({"name": "short", "judge": rule("asks_for", pattern="x", when="urgent")}, "urgent")],
)
def test_a_column_that_a_criterion_uses_makes_the_rounds_again(
    tmp_path: Path, criterion: dict[str, Any], column: str
) -> None:
    again = {"round_1/rollouts", "round_1/eval_reports", "promotion"}
    assert changed_by(tmp_path, [criterion], {column: "other"}) == again


def test_a_column_of_the_system_message_makes_other_prompts(tmp_path: Path) -> None:
    criteria = [{"name": "polite", "judge": POLITE}]
    system = {"system": "Follow {policy}."}
    found = changed_by(tmp_path, criteria, {"policy": "Be long."}, policy=system)
    assert found == {"round_1/rollouts", "round_1/eval_reports", "promotion"}


def test_a_rule_is_judged_again_only_for_the_columns_it_reads() -> None:
    payload = {"judge": {"protocol": "rule", "rule": {"name": "asks_for", "when": "urgent"}}}

    def subject(**fields: Any) -> str:
        return subjects_of([Rollout("Where?", "Here.", fields=fields)], payload)[0]

    assert subject(urgent=True, note="x") == subject(urgent=True, note="y")
    assert subject(urgent=True) != subject(urgent=False)


def test_a_rule_that_says_which_columns_it_reads_says_all_that_are_checked() -> None:
    settings = {"column": "c", "when": "w", "field": "f", "how": "exact", "labels": ("a", "b")}
    for name, each in RULES.items():
        if each.READS is not None:
            made = each.model_construct(
                name=name, **{key: settings[key] for key in settings if key in each.model_fields}
            )
            assert {column.parameter for column in made.columns()} <= set(each.READS), name


def test_every_column_counts_for_a_judge_of_the_users_own() -> None:
    payload = {"judge": {"protocol": "python"}}
    first, second = ([Rollout("Where?", "Here.", fields={"any": value})] for value in (1, 2))
    assert subjects_of(first, payload) != subjects_of(second, payload)


def test_the_rubric_of_its_row_counts_for_a_checklist(tmp_path: Path) -> None:
    rubric = [{"criterion": "Says when.", "points": 2, "tags": ["time"]}]
    checklist = [{"name": "rubric", "judge": {"protocol": "checklist"}}]
    again = {"round_1/rollouts", "round_1/eval_reports", "promotion"}
    assert changed_by(tmp_path, checklist, {"rubric": rubric}) == again
    (tmp_path / "other").mkdir()
    assert changed_by(tmp_path / "other", checklist, {"note": "other"}) == set()
