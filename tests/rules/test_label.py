"""`label`: the class that a reply names."""

from typing import Any

import pytest
from pydantic import ValidationError

from rft_pipeline.rules import Rollout, RuleScore
from rft_pipeline.rules.label import Label

LABELS = ("spam", "not spam", "Off topic")


def judged(completion: str, label: Any = "spam", **settings: Any) -> RuleScore:
    return Label(labels=LABELS, **settings)(Rollout("", completion, "stop", {"label": label}))


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        ("Spam.", "spam"),
        ("This is SPAM, plain spam.", "spam"),
        ("not  spam", "not spam"),
        ("**off\ntopic**", "Off topic"),
        ("spammer", None),
        ("spam, or not spam", None),
        ("", None),
    ],
)
def test_a_reply_names_the_only_class_in_it(reply: str, named: str | None) -> None:
    assert Label(labels=LABELS).named(reply) == named
    assert judged(reply, "spam").score == (named == "spam")


def test_after_a_pattern_the_first_class_counts() -> None:
    rule = Label(labels=LABELS, after="(?i)label:")
    assert rule.named("It could be spam. Label: not spam, since spam sells.") == "not spam"
    assert rule.named("Label: spam\nLabel: off topic") == "Off topic"
    assert rule.named("spam") is None
    assert rule.named("Label: unclear") is None


def test_the_field_of_a_json_reply_must_be_the_class_as_a_whole() -> None:
    rule = Label(labels=("1", "2", "true"), field="a.class")
    assert [rule.named(f'{{"a": {{"class": {value}}}}}') for value in ('"1"', "2.0", "true", '"1 or 2"', "null")] == [
        "1",
        "2",
        "true",
        None,
        None,
    ]
    assert rule.named('{"a": {"class": "1", "class": "2"}}') is None
    assert rule.named("1") is None


def test_the_reason_says_what_was_named_and_what_is_right() -> None:
    assert judged("spam") == (1, "names spam")
    assert judged("off topic") == (0, "names Off topic, not spam")
    assert judged("spam, off topic") == (0, "names more than one class: spam, Off topic")
    assert judged("well", after="is") == (0, "names no class after 'is'")
    assert judged('{"d": "perhaps"}', field="d") == (0, "names no class: d is 'perhaps'")
    assert judged("spam", "ham") == (None, "no label in the prompt's column 'label'")


def test_a_pattern_that_takes_years_names_no_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rft_pipeline.rules.label.SECONDS", 0.05)
    rule = Label(labels=LABELS, after="(a|aa)+$")
    assert rule.decide(Rollout("", "a" * 60 + "b", "stop", {"label": "spam"})).score is None
    assert rule.named("a" * 60 + "b") is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"labels": ["Spam", "spam "]}, "two are the same"),
        ({"labels": ["spam", ""]}, "one is empty"),
        ({"labels": ["spam"]}, "at least 2"),
        ({"labels": ["a", "b"], "field": "a", "after": "b"}, "give one of them"),
    ],
)
def test_labels_that_nobody_can_tell_apart_are_refused(settings: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Label(**settings)


def test_a_row_with_another_label_is_none_of_them() -> None:
    (column,) = Label(labels=LABELS, column="truth").columns()
    assert (column.name, column.can_be("NOT spam"), column.can_be("ham"), column.needed) == ("truth", True, False, True)
    assert column.allowed == "one of spam, not spam, Off topic"
