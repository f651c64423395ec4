"""`json_field`: a field of a JSON reply against a column of the prompt."""

from typing import Any

import pytest
from pydantic import ValidationError

from rft_pipeline.rules import Rollout, RuleScore
from rft_pipeline.rules.json_field import JsonField

ORDER = (
    '{"total": {"amount": 1250.5, "currency": "EUR"}, "paid": true, "items": [{"name": "Oak  bench"}], "note": null}'
)


def judged(completion: str, wanted: Any = None, prompt: str = "", **settings: Any) -> RuleScore:
    return JsonField(**settings)(Rollout(prompt, completion, "stop", {"wanted": wanted}))


def score(path: str, column: Any, **settings: Any) -> float | None:
    return judged(ORDER, column, **{"field": path, "column": "wanted", **settings}).score


@pytest.mark.parametrize(
    ("path", "column", "right"),
    [
        ("total.currency", "eur ", 1),
        ("items.0.name", "oak bench", 1),
        ("items.1.name", "oak bench", 0),
        ("total.amount", "1250.5", 1),
        ("total.amount", 1250, 0),
        ("paid", True, 1),
        ("paid", "true", 1),
        ("paid", 1, 0),
        ("items", [{"name": "Oak bench"}], 1),
        ("items", [], 0),
        ("total", {"amount": 1250.5}, 0),
        ("note", "null", 0),
        ("total.vat", 0, 0),
        ("total", None, None),
        ("total", "", None),
    ],
)
def test_exact_means_the_same_value_at_the_path(path: str, column: Any, right: float | None) -> None:
    assert score(path, column) == right


def test_one_of_several_values_is_enough_and_null_can_be_one() -> None:
    assert score("total.currency", ["USD", "EUR"], how="one_of") == 1
    assert score("total.currency", ["USD"], how="one_of") == 0
    assert score("note", ["none", None], how="one_of") == 1
    assert score("note", ["none"], how="one_of") == 0
    assert score("note", "none", how="one_of") is None


@pytest.mark.parametrize(
    ("column", "settings", "right"),
    [
        (1250.5, {}, 1),
        ("€ 1,250.50", {}, 1),
        ("1.250,50", {"decimal": ","}, 1),
        (1250, {}, 0),
        (1250, {"absolute_tolerance": 0.5}, 1),
        (1250, {"relative_tolerance": 0.0004}, 1),
        (1250, {"relative_tolerance": 0.0003}, 0),
        ("a lot", {}, None),
    ],
)
def test_numbers_agree_within_the_wider_tolerance(column: Any, settings: Any, right: float | None) -> None:
    assert score("total.amount", column, how="numeric", **settings) == right
    assert score("paid", 1, how="numeric") == 0


def test_a_quote_is_in_the_prompt_word_for_word() -> None:
    post = "Selling two oak benches – as good as new."
    for quote, right in [
        ("two oak benches - as good", 1),
        ("Selling … as good as new", 1),
        ("three oak benches", 0),
        ("…", 0),
        ("", 0),
    ]:
        found = judged(f'{{"quote": "{quote}"}}', prompt=post, field="quote", how="quote")
        assert found.score == right, found
    assert judged('{"quote": ["Selling"]}', prompt=post, field="quote", how="quote").score == 0
    assert judged('{"quote": "oak"}', "An oak.", field="quote", how="quote", column="wanted").score == 1


@pytest.mark.parametrize(
    ("completion", "right", "reason"),
    [
        ("remove", 0, "not JSON"),
        ('```json\n{"a": "x"}\n```', 0, "not JSON"),
        ('["a"]', 0, "no field 'a'"),
        ('{"a": "y", "a": "x"}', 0, "not JSON: the key 'a' is given twice"),
        ('{"a": ' + "[" * 100_000, None, "nested too deep"),
    ],
)
def test_a_reply_that_is_no_document_has_no_field(completion: str, right: float | None, reason: str) -> None:
    found = judged(completion, "x", field="a", column="wanted")
    assert found.score == right
    assert found.reason.startswith(reason)


def test_the_column_is_named_like_the_field_unless_the_rule_says_so() -> None:
    (column,) = JsonField(field="total.amount").columns()
    assert column.name == "total.amount"
    assert not JsonField(field="quote", how="quote").columns()
    (column,) = JsonField(field="a", column="b", how="one_of").columns()
    assert (column.name, column.needed, column.can_be([1]), column.can_be(1)) == ("b", True, True, False)


def test_settings_without_effect_and_odd_paths_are_refused() -> None:
    with pytest.raises(ValidationError, match="absolute_tolerance: only `how: numeric` reads numbers"):
        JsonField(field="a", absolute_tolerance=1)
    for path in ("", ".", "a.", "a..b"):
        with pytest.raises(ValidationError, match="field"):
            JsonField(field=path)
