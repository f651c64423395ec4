"""Rules that compare a reply with what its prompt row holds: similarity and citation."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from rft_pipeline.rules import AnyRule, Rollout
from rft_pipeline.rules.citation import CitesContext
from rft_pipeline.rules.similarity import Similarity

PASSAGES = ["The lamp ships within three days.", "Refunds take two weeks, says “our policy”."]


def like(how: str, completion: str, reference: Any) -> float | None:
    rule = Similarity.model_validate({"how": how})
    return rule(Rollout("", completion, "stop", {"reference": reference})).score


def cited(completion: str, context: Any = PASSAGES, **settings: Any) -> float | None:
    return CitesContext(**settings)(Rollout("", completion, "stop", {"context": context})).score


def test_the_same_text_is_like_its_reference_in_every_way() -> None:
    assert [like(how, "Berlin, Germany", "Berlin, Germany") for how in ("chrf", "token_sort", "exact")] == [1, 1, 1]
    assert [like(how, "", "Berlin") for how in ("chrf", "token_sort", "exact")] == [0, 0, 0]


def test_word_order_and_case_count_as_each_way_says() -> None:
    assert like("token_sort", "germany berlin", "Berlin, Germany") == 1.0
    assert like("exact", "  BERLIN,\nGermany", "Berlin, Germany") == 1.0
    assert like("exact", "Germany, Berlin", "Berlin, Germany") == 0.0


def test_one_word_of_the_reference_is_not_the_reference() -> None:
    assert like("token_sort", "lamp", "the lamp ships tomorrow") == pytest.approx(2 * 4 / (4 + 23))


def test_of_several_references_the_likest_counts() -> None:
    assert like("exact", "NYC", ["New York", "nyc"]) == 1.0
    assert like("exact", "1984", 1984) == 1.0
    assert like("exact", "1.5", [1.5, 2]) == 1.0


@pytest.mark.parametrize("reference", [None, "", " ", [], ["a", ""], True, {"a": 1}])
def test_without_a_reference_there_is_no_similarity(reference: Any) -> None:
    assert like("chrf", "Berlin", reference) is None


@pytest.mark.parametrize(
    ("completion", "score"),
    [
        ("Three days [1].", 1.0),
        ("Three days [1][2], two weeks 【2】.", 1.0),
        ("Three days [1], two weeks [99].", 0.5),
        ("Both [1, 2, 3].", 2 / 3),
        ("All [1-2].", 1.0),
        ("All [2-1], [1-999999999].", 0.0),
        ("None [0].", 0.0),
        ("None.", 0.0),
        ("", 0.0),
    ],
)
def test_markers_must_be_numbers_of_passages(completion: str, score: float) -> None:
    assert cited(completion) == pytest.approx(score)


@pytest.mark.parametrize(
    ("completion", "score"),
    [
        ('It "ships within three days".', 1.0),
        ("It “Ships  within\nthree days,” they say.".replace("\n", " "), 1.0),
        ("Es «The lamp … within three days.»", 1.0),
        ("„Refunds take two weeks, says 'our“", 0.0),
        ('It "ships within four days".', 0.0),
        ('"three days … the lamp ships"', 0.0),
        ('It "ships within three days", "refunds take two months".', 0.5),
        ('A "lamp".', 0.0),
    ],
)
def test_quotes_must_stand_in_one_passage(completion: str, score: float) -> None:
    assert cited(completion, how="quotes") == score


def test_both_kinds_are_counted_together() -> None:
    assert cited('"ships within three days" [9]', how="both") == 0.5


def test_a_citation_may_be_optional_and_nothing_found_is_nothing_to_cite() -> None:
    assert cited("Hello.", required=False) == 1.0
    assert cited("I do not know.", []) == 1.0
    assert cited("It says [1].", []) == 0.0


def test_a_text_with_numbered_lines_has_those_passages() -> None:
    assert cited("[3] [1]", "[3] The lamp.\n[4] The refund.") == 0.5
    assert cited("[1] [2]", "One passage.") == 0.5


@pytest.mark.parametrize("context", [None, "", [1], {"a": "b"}, 5])
def test_without_a_context_there_is_no_score(context: Any) -> None:
    assert cited("[1]", context) is None


CONFIGS: list[dict[str, Any]] = [
    {"name": "numeric_answer"},
    {"name": "numeric_answer", "after": "####"},
    {"name": "language", "language": "en", "min_letters": 1},
    {"name": "readability", "max_grade": 8},
    *({"name": "similarity", "how": how} for how in ("chrf", "token_sort", "exact")),
    {"name": "cites_context", "how": "both", "min_quote_letters": 1},
    {"name": "cites_context", "supports": 0.5},
    {"name": "supported_by"},
]
BITS = st.sampled_from(
    [*'[]"“”„«»…-−.,/^%$ \n', "1", "２", "½", "10⁻³", r"\frac{1}{2}", r"\boxed{", "[1]", "\ud800", "é"]
)
REPLIES = st.lists(BITS | st.text(max_size=5), max_size=30).map("".join)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: "-".join(map(str, config.values())))
@given(completion=REPLIES, reference=REPLIES | st.integers() | st.floats() | st.none())
@settings(max_examples=60, deadline=None)
def test_any_reply_gets_a_score_between_0_and_1_or_none(
    config: dict[str, Any], completion: str, reference: Any
) -> None:
    fields = {"reference": reference, "context": [str(reference)]}
    verdict = TypeAdapter(AnyRule).validate_python(config)(Rollout("", completion, "stop", fields))
    assert verdict.reason
    assert verdict.score is None or 0 <= verdict.score <= 1
