"""Criteria that cannot do their work."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.rules.values import text_of
from tests.check.small import CLOZE, EVAL, POLITE, TRAIN, campaign, check, errors, rule, warnings


def test_the_same_judge_under_two_names_is_refused(tmp_path: Path) -> None:
    folder = campaign(tmp_path, [{"name": "polite", "judge": POLITE}, {"name": "kind", "judge": POLITE}])
    assert errors(folder) == [
        "rubric.yaml: polite, kind are the same criterion under 2 names (same judge and settings); "
        "keep one and give it the sum of the weights"
    ]


@pytest.mark.parametrize(
    ("gate", "judge", "finding"),
    [
        (1, POLITE, "gate 1 cannot be passed: scores of a contrast judge are below 1; allowed: above 0 and below 1"),
        (
            0.7,
            rule("length", min_words=20, max_words=40),
            "gate 0.7 cannot be passed: with rollouts.sampling.max_new_tokens 10 the best score is 0.50",
        ),
        (
            0.5,
            rule("finishes", min_words=10),
            "gate 0.5 cannot be passed: with rollouts.sampling.max_new_tokens 10 the best score is 0.00",
        ),
        (
            0.5,
            rule("required_parts", parts=["way", "sorry", "order"]),
            "none of the 20 anchors passes gate 0.5 (the best score is 0.33), so every rollout would have reward 0: "
            "lower the gate or fix the rule",
        ),
    ],
)
def test_a_gate_that_nothing_can_pass_is_refused(
    tmp_path: Path, gate: float, judge: Mapping[str, Any], finding: str
) -> None:
    rollouts = {"prompts_per_round": 4, "group_size": 2, "sampling": {"max_new_tokens": 10}}
    folder = campaign(
        tmp_path,
        [{"name": "polite", "gate": gate, "judge": judge}, {"name": "b", "judge": CLOZE}],
        settings={"rollouts": rollouts},
    )
    assert errors(folder) == [f"rubric.yaml: polite: {finding}"]


BINARY = {"protocol": "binary", "question": "Is it polite?"}


@pytest.mark.parametrize(
    ("judge", "refused"),
    [(BINARY, True), ({**BINARY, "answer": "json"}, False), ({"protocol": "panel", "members": [BINARY, POLITE]}, True)],
)
def test_a_gate_of_1_is_refused_where_no_score_reaches_it(tmp_path: Path, judge: dict[str, Any], refused: bool) -> None:
    folder = campaign(tmp_path, [{"name": "polite", "gate": 1, "judge": judge}])
    if refused:
        assert "scores of a" in errors(folder)[0]
    else:
        assert not [each for each in warnings(folder) if "gate" in each]


def test_a_gate_that_stops_nothing_is_a_warning(tmp_path: Path) -> None:
    folder = campaign(tmp_path, [{"name": "polite", "gate": 0, "judge": POLITE}])
    assert warnings(folder) == [
        "rubric.yaml: polite: gate 0 has no effect, since no score is below 0; remove it or raise it"
    ]


def asks(when: str) -> list[dict[str, Any]]:
    return [
        {"name": "asks", "judge": rule("asks_for", pattern="number", when=when)},
        {"name": "polite", "judge": POLITE},
    ]


def test_a_rule_that_names_a_column_no_prompt_has_is_refused(tmp_path: Path) -> None:
    hint = "has a column 'urgnt' (did you mean 'urgent'?); existing columns: urgent"
    assert errors(campaign(tmp_path, asks("urgnt"))) == [
        f"rubric.yaml: asks: when: no {what} {hint}" for what in ("train prompt", "eval prompt", "anchor")
    ]


def test_a_column_that_some_prompts_lack_is_a_warning(tmp_path: Path) -> None:
    folder = campaign(tmp_path, asks("urgent"), train=[*TRAIN, {"id": "bare", "prompt": "Nothing else here."}])
    assert warnings(folder) == [
        "rubric.yaml: asks: when: 1 of 9 train prompts lack the column 'urgent' (e.g. bare); "
        "on such a prompt, asking counts as not needed"
    ]


def test_a_column_that_is_neither_yes_nor_no_is_refused(tmp_path: Path) -> None:
    folder = campaign(tmp_path, asks("urgent"), train=[*TRAIN, {"id": "odd", "prompt": "Odd one.", "urgent": "no"}])
    assert errors(folder) == [
        "rubric.yaml: asks: when: 1 train prompts have a value in 'urgent' that is neither yes nor no "
        '(e.g. odd: "no"); allowed: true, false, 1, 0 (also as text), null'
    ]


@pytest.mark.parametrize(
    ("template", "finding"),
    [
        ("They wrote {reply}", "ends with the reply, so the words would continue the reply; "),
        ("They wrote {reply}. It is ", "ends in white space; remove it, since the words start with a space"),
    ],
)
def test_a_cloze_template_that_cannot_work_is_refused(tmp_path: Path, template: str, finding: str) -> None:
    [error] = errors(campaign(tmp_path, [{"name": "polite", "judge": {**CLOZE, "templates": [template]}}]))
    assert error.startswith(f"rubric.yaml: polite: template {template!r} {finding}")


def test_personas_that_differ_only_in_spelling_are_refused(tmp_path: Path) -> None:
    judge = {**POLITE, "negative": "you are a COURTEOUS person!"}
    [error] = errors(campaign(tmp_path, [{"name": "polite", "judge": judge}]))
    assert error.endswith("differ only in case or punctuation; describe two opposite ways to reply")


@pytest.mark.parametrize(
    ("judge", "value", "finding"),
    [
        (
            rule("numeric_answer"),
            "some",
            '(e.g. odd: "some"); allowed: a number, or a text that is one (like 1,234.50, 3/4, 50%)',
        ),
        (
            rule("similarity"),
            True,
            "(e.g. odd: true); allowed: a text or a number, or a list of them, of which the closest counts; "
            "none of them empty",
        ),
        (
            rule("cites_context", column="reference"),
            [1],
            "(e.g. odd: [1]); allowed: a text that is not empty, or a list of texts "
            "(an empty list: nothing was found to cite)",
        ),
    ],
)
def test_a_column_that_a_rule_cannot_read_is_refused(
    tmp_path: Path, judge: dict[str, Any], value: Any, finding: str
) -> None:
    train = [{**row, "reference": "42"} for row in TRAIN]
    held_out = [{**row, "reference": "42"} for row in EVAL]
    odd = {"id": "odd", "prompt": "Odd one.", "reference": value}
    bare = {"id": "bare", "prompt": "Nothing else here.", "reference": None}
    criteria = [{"name": "right", "judge": judge}, {"name": "polite", "judge": POLITE}]
    [error] = errors(campaign(tmp_path, criteria, train=[*train, odd, bare], held_out=held_out))
    assert error.startswith("rubric.yaml: right: column: 1 train prompts have a value in 'reference' that is ")
    assert error.endswith(finding)


def test_a_prompt_without_a_reference_is_a_warning_and_an_anchor_without_one_is_not(tmp_path: Path) -> None:
    train = [{**row, "reference": "42"} for row in TRAIN]
    bare = {"id": "bare", "prompt": "Nothing else here.", "reference": None}
    held_out = [{**row, "reference": "42"} for row in EVAL]
    criteria = [{"name": "right", "gate": 0.5, "judge": rule("numeric_answer")}, {"name": "polite", "judge": POLITE}]
    folder = campaign(tmp_path, criteria, train=[*train, bare], held_out=held_out)
    assert warnings(folder) == [
        "rubric.yaml: right: column: 1 of 9 train prompts lack the column 'reference' (e.g. bare); "
        "a reply to such a prompt is unscored, and a rollout with an unscored criterion does not train"
    ]


def test_code_that_cannot_be_loaded_is_named_before_anything_runs(tmp_path: Path) -> None:
    own = {"name": "own", "judge": rule("python", function="own:score")}
    folder = campaign(tmp_path, [{"name": "polite", "judge": POLITE}, own])
    (folder / "own.py").write_text("1 / 0", encoding="utf-8")
    assert errors(folder) == ["rubric.yaml: own: own:score: cannot be loaded: ZeroDivisionError: division by zero"]


def test_a_criterion_that_shows_a_reference_needs_the_column(tmp_path: Path) -> None:
    kind = {"protocol": "binary", "question": "Is it kind?", "reference": True}
    folder = campaign(tmp_path, [{"name": "kind", "judge": kind}])
    found = errors(folder)
    assert found[0].startswith("rubric.yaml: kind: reference: no train prompt has a column 'reference'")


def test_a_judge_nobody_defined_is_named(tmp_path: Path) -> None:
    folder = campaign(tmp_path, [{"name": "kind", "judge": {**POLITE, "by": "strong"}}])
    (finding,) = errors(folder)
    assert finding.endswith(
        "criterion \"kind\": by: 'strong' is no judge; the judges of campaign.yaml are: judge; "
        "to add one, write there judges: {strong: {model: …}}"
    )


@pytest.mark.parametrize(
    ("code", "finding"),
    [
        ("def messages(self, rollout): ...", "has no verdict; both hooks are needed"),
        ("def __init__(self): 1 / 0", "settings []: ZeroDivisionError: division by zero"),
    ],
)
def test_a_judge_of_the_users_own_that_cannot_be_made_is_refused(tmp_path: Path, code: str, finding: str) -> None:
    own = {"name": "own", "judge": {"protocol": "python", "judge": "own:Brief"}}
    folder = campaign(tmp_path, [{"name": "polite", "judge": POLITE}, own])
    (folder / "own.py").write_text(f"class Brief:\n    {code}\n", encoding="utf-8")
    assert errors(folder) == [f"rubric.yaml: own: judge own:Brief: {finding}"]


def test_a_served_judge_cannot_be_asked_for_likelihoods(tmp_path: Path) -> None:
    judge = {"model": "served:strong", "server": {"url": "http://127.0.0.1:1/v1"}}
    folder = campaign(tmp_path, [{"name": "polite", "judge": POLITE}], settings={"judge": judge})
    (finding,) = errors(folder)
    assert "criterion polite: contrast reads likelihoods or weights, but 'judge' is served" in finding


def test_a_csv_reference_of_digits_is_a_text_and_a_json_number_is_its_spelling() -> None:
    assert (text_of("007"), text_of(9), text_of(1.5)) == ("007", "9", "1.5")
    assert [text_of(value) for value in (None, " ", True, [9])] == [None] * 4


def test_a_gate_on_scores_that_were_fitted_to_nothing_is_a_warning(tmp_path: Path) -> None:
    fitted = {**POLITE, "positive": "You are kind.", "squash": {"offset": 0.1, "scale": 0.2}}
    criteria = [
        {"name": "polite", "gate": 0.5, "judge": POLITE},
        {"name": "kind", "gate": 0.5, "judge": fitted},
        {"name": "both", "gate": 0.5, "judge": {"protocol": "panel", "members": [CLOZE, fitted]}},
        {"name": "brief", "gate": 0.5, "judge": rule("length", max_words=9)},
    ]
    found = [each for each in warnings(campaign(tmp_path, criteria)) if "gate" in each]
    assert [each.partition(" judge has no `squash`")[0] for each in found] == [
        "rubric.yaml: polite: gate 0.5: the contrast",
        "rubric.yaml: both: gate 0.5: the cloze",
    ]
    assert "`rft audit small --suggest` prints a squash that fits them" in found[0]
    assert check(tmp_path / "small").unfitted == ("polite", "both")


def test_a_question_to_the_embedded_model_is_a_warning(tmp_path: Path) -> None:
    large = {"model": "served:large", "server": {"url": "http://127.0.0.1:9/v1"}}
    criteria = [
        {"name": "polite", "judge": POLITE},
        {"name": "helpful", "judge": BINARY},
        {"name": "kind", "judge": {**BINARY, "question": "Is it kind?", "by": "strong"}},
    ]
    found = check(campaign(tmp_path, criteria, settings={"judges": {"strong": large}})).warnings
    [asks] = [each for each in found if "asks the embedded model" in each]
    assert "rubric.yaml: helpful: binary asks the embedded model, which is too small" in asks
    assert asks.endswith("with it, or a larger model (judge.model)")
