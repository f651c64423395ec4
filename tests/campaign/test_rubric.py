import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from rft_pipeline.campaign import load_rubric, read_yaml
from rft_pipeline.campaign.rubric import Criterion, Rubric
from rft_pipeline.errors import ConfigError

CONTRAST: dict[str, Any] = {"protocol": "contrast", "positive": "You are kind.", "negative": "You are rude."}
LENGTH: dict[str, Any] = {"protocol": "rule", "rule": {"name": "length", "max_words": 60}}
CLOZE: dict[str, Any] = {
    "protocol": "cloze",
    "templates": ["A reply:\n{reply}\nThe tone is"],
    "positive": ["warm"],
    "negative": ["cold"],
}


def criterion(judge: dict[str, Any] = CONTRAST, **others: Any) -> Criterion:
    return Criterion.model_validate({"name": "polite", "judge": judge, **others})


def refusal(tmp_path: Path, *criteria: dict[str, Any]) -> str:
    path = tmp_path / "rubric.yaml"
    path.write_text(yaml.safe_dump({"criteria": list(criteria)}), encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(str(path))) as error:
        load_rubric(path)
    return str(error.value)


@pytest.mark.parametrize(
    "change", [{"weight": 3}, {"gate": 0.5}, {"name": "courteous"}, {"description": "Kind words."}]
)
def test_what_the_judge_does_not_see_leaves_the_fingerprint_alone(change: dict[str, Any]) -> None:
    assert criterion(**change).fingerprint == criterion().fingerprint


@pytest.mark.parametrize(
    "judge",
    [
        {**CONTRAST, "positive": "You are very kind."},
        {**CONTRAST, "negative": "You are very rude."},
        {**CONTRAST, "squash": {"offset": 0.1}},
        {**CONTRAST, "squash": {"scale": 0.4}},
        LENGTH,
        {"protocol": "relevance"},
    ],
)
def test_what_the_judge_sees_changes_the_fingerprint(judge: dict[str, Any]) -> None:
    assert criterion(judge).fingerprint != criterion().fingerprint


def test_a_squash_changes_the_fingerprint_and_not_the_question() -> None:
    squash = criterion({**CONTRAST, "squash": {"offset": 0.1}})
    assert (squash.fingerprint, squash.question) != (criterion().fingerprint, criterion().question)
    assert squash.question == criterion().question
    assert criterion({**CONTRAST, "positive": "You are very kind."}).question != criterion().question


def test_a_default_written_out_is_the_same_criterion() -> None:
    assert criterion({**CONTRAST, "squash": {"offset": 0, "scale": 0.5}}).fingerprint == criterion().fingerprint


def test_editing_a_rule_changes_its_fingerprint() -> None:
    longer = {"protocol": "rule", "rule": {"name": "length", "max_words": 61}}
    assert criterion(LENGTH).fingerprint != criterion(longer).fingerprint


def test_weights_sum_to_one_and_gates_are_listed() -> None:
    rubric = Rubric(criteria=(criterion(weight=3), criterion(LENGTH, name="short", gate=0.25)))
    assert rubric.weights() == {"polite": 0.75, "short": 0.25}
    assert rubric.gates() == {"short": 0.25}
    assert rubric.names == ["polite", "short"]
    assert [each.name for each in rubric.judged] == ["polite"]


def test_a_criterion_of_weight_zero_is_kept_and_weighs_nothing() -> None:
    rubric = Rubric(criteria=(criterion(), criterion(LENGTH, name="short", weight=0)))
    assert rubric.weights() == {"polite": 1.0, "short": 0.0}


def test_two_criteria_of_one_name_are_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"name": "polite", "judge": CONTRAST}, {"name": "polite", "judge": LENGTH})
    assert "criteria named twice: polite" in message


def test_a_rubric_without_any_weight_is_refused(tmp_path: Path) -> None:
    assert "all weights are 0" in refusal(tmp_path, {"name": "polite", "weight": 0, "judge": CONTRAST})


def test_an_empty_rubric_is_refused(tmp_path: Path) -> None:
    assert "criteria" in refusal(tmp_path)


def test_an_unknown_protocol_is_refused_with_those_there_are(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"name": "polite", "judge": {"protocol": "vibes"}})
    for protocol in ("vibes", "rule", "contrast", "relevance", "cloze", "binary"):
        assert f"'{protocol}'" in message


def test_an_unknown_rule_is_refused_with_those_there_are(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"name": "short", "judge": {"protocol": "rule", "rule": {"name": "lenght"}}})
    for rule in ("lenght", "length", "regex", "json_schema", "no_markdown", "finishes"):
        assert f"'{rule}'" in message


def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"name": "polite", "wieght": 2, "judge": CONTRAST})
    assert "unknown key 'wieght' (did you mean 'weight'?)" in message
    assert "allowed: name, description, weight, gate, judge" in message
    assert 'criterion "polite": unknown key' in message


def test_an_unknown_key_of_a_judge_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"name": "polite", "judge": {**CONTRAST, "negativ": "x"}})
    assert "unknown key 'negativ' (did you mean 'negative'?)" in message


@pytest.mark.parametrize("weight", [-1, float("inf"), float("nan"), "much"])
def test_a_weight_that_is_no_finite_number_above_zero_is_refused(tmp_path: Path, weight: object) -> None:
    message = refusal(tmp_path, {"name": "polite", "weight": weight, "judge": CONTRAST})
    assert 'criterion "polite"' in message
    assert str(weight) in message


@pytest.mark.parametrize("gate", [-0.1, 1.1, 50])
def test_a_gate_outside_zero_and_one_is_refused(tmp_path: Path, gate: float) -> None:
    assert 'criterion "polite": gate: must be ' in refusal(
        tmp_path, {"name": "polite", "gate": gate, "judge": CONTRAST}
    )


@pytest.mark.parametrize("name", ["Polite", "1st", "is polite", ""])
def test_a_name_that_is_no_column_name_is_refused(tmp_path: Path, name: str) -> None:
    assert f'criterion "{name}": name: ' in refusal(tmp_path, {"name": name, "judge": CONTRAST})


def test_the_nearest_protocol_and_rule_are_named_without_the_terms_of_the_parser(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"name": "polite", "judge": {"protocol": "contrats"}})
    assert "criterion \"polite\": judge: protocol: 'contrats' is unknown (did you mean 'contrast'?)" in message
    message = refusal(tmp_path, {"name": "short", "judge": {"protocol": "rule", "rule": {"name": "lenght"}}})
    assert "criterion \"short\": judge.rule: name: 'lenght' is unknown (did you mean 'length'?)" in message
    message = refusal(tmp_path, {"name": "polite", "judge": {"protocol": "contrast", "positive": "Be kind."}})
    assert 'criterion "polite": judge.negative: is required' in message
    assert "tag" not in message


def test_a_number_in_quotes_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"name": "polite", "weight": "2", "judge": CONTRAST})
    assert "weight: '2' is a text; write a number, without quotes" in message


def test_a_key_that_is_written_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    (tmp_path / "rubric.yaml").write_text(
        "criteria:\n  - name: short\n    weight: 1\n    weight: 2\n", encoding="utf-8"
    )
    with pytest.raises(ConfigError, match=r"line 4, column 5: the key 'weight' is written twice, first in line 3"):
        load_rubric(tmp_path / "rubric.yaml")
    (tmp_path / "rubric.yaml").write_text("criteria: [{weight: 1, weight: 2}]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"line 1, column 24: the key 'weight' is written twice, first in line 1"):
        load_rubric(tmp_path / "rubric.yaml")


@pytest.mark.parametrize("text", ["? [a, b]\n: 1\n", "criteria: {{slot}: 1}\n"])
def test_a_key_that_is_no_text_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "rubric.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"rubric\.yaml: not YAML: line 1, column \d+: found unhashable key"):
        load_rubric(tmp_path / "rubric.yaml")


@pytest.mark.parametrize(
    ("text", "value"), [("1e-5", 1e-5), ("2E3", 2000.0), ("+1.5e+1", 15.0), ("12e4567", "12e4567")]
)
def test_a_number_with_an_exponent_needs_no_point(tmp_path: Path, text: str, value: float | str) -> None:
    (tmp_path / "any.yaml").write_text(f"weight: {text}\nquoted: '{text}'\n", encoding="utf-8")
    assert read_yaml(tmp_path / "any.yaml") == {"weight": value, "quoted": text}


def test_two_equal_personas_are_refused(tmp_path: Path) -> None:
    judge = {"protocol": "contrast", "positive": "Be kind.", "negative": " Be kind. "}
    assert "the same text" in refusal(tmp_path, {"name": "polite", "judge": judge})


@pytest.mark.parametrize("words", [["very warm"], [""], [" warm"]])
def test_a_cloze_word_that_is_not_one_word_is_refused(tmp_path: Path, words: list[str]) -> None:
    assert "positive.0" in refusal(tmp_path, {"name": "warm", "judge": {**CLOZE, "positive": words}})


def test_a_cloze_word_on_both_sides_is_refused(tmp_path: Path) -> None:
    judge = {**CLOZE, "positive": ["warm", "cold"]}
    assert "words both positive and negative: cold" in refusal(tmp_path, {"name": "warm", "judge": judge})


@pytest.mark.parametrize("template", ["The tone is", "They wrote {reply} and {reply}: the tone is"])
def test_a_cloze_template_without_just_one_reply_is_refused(tmp_path: Path, template: str) -> None:
    message = refusal(tmp_path, {"name": "warm", "judge": {**CLOZE, "templates": [template]}})
    assert "must hold {reply} exactly once" in message
    assert template in message


@pytest.mark.parametrize("template", ["{reply}\nThe tone is", " \n{reply} is"])
def test_a_cloze_template_that_begins_with_the_reply_is_refused(tmp_path: Path, template: str) -> None:
    message = refusal(tmp_path, {"name": "warm", "judge": {**CLOZE, "templates": [template]}})
    assert "must say something before {reply}, e.g. 'The reply:\\n{reply}'" in message


def test_a_judge_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        criterion().weight = 2.0


@pytest.mark.parametrize(
    ("criterion", "said"),
    [
        (
            "{name: polite, judge: {protocol: rule, gate: 0.5, rule: {name: finishes}}}",
            "judge: 'gate' is no key here: it belongs to the criterion, so write it above `judge`",
        ),
        (
            "{name: polite, judge: {protocol: rule, rule: {name: finishes, weight: 2}}}",
            "judge.rule: 'weight' is no key here: it belongs to the criterion, so write it above `judge`",
        ),
        (
            "{name: polite, protocol: rule, judge: {protocol: rule, rule: {name: finishes}}}",
            "'protocol' is no key here: it belongs to the judge: `judge: {protocol: …}`",
        ),
    ],
)
def test_a_key_in_the_wrong_place_is_told_where_it_belongs(tmp_path: Path, criterion: str, said: str) -> None:
    (tmp_path / "rubric.yaml").write_text(f"criteria: [{criterion}]\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_rubric(tmp_path / "rubric.yaml")
    assert str(caught.value) == f'{tmp_path / "rubric.yaml"}: criterion "polite": {said}'
