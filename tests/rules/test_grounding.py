"""Rules about a reply from given passages: claims, their support, their citations, and refusals."""

from typing import Any

import pytest

from rft_pipeline.rules import Rollout
from rft_pipeline.rules.citation import CitesContext
from rft_pipeline.rules.grounding import Refuses, SupportedBy
from rft_pipeline.rules.passages import claims, passages_of

KETTLE = (
    "[1] The Kestrel filter lasts six months. Rinse it with cold water once a week.\n"
    "[2] The jug holds 1.2 litres. Wash it by hand; the dishwasher clouds the glass.\n"
    "[3] The lamp comes on after 2,000 cups. Use one sachet of powder per litre."
)
FILTER = "How long does the Kestrel filter last?"


def rollout(completion: str, prompt: str = FILTER, **fields: Any) -> Rollout:
    return Rollout(prompt, completion, fields={"context": KETTLE, "answerable": True, **fields})


def supported(completion: str, prompt: str = FILTER, **settings: Any) -> float | None:
    return SupportedBy(**settings)(rollout(completion, prompt)).score


def cited(completion: str, prompt: str = FILTER, **fields: Any) -> float | None:
    return CitesContext(supports=0.6, when="answerable")(rollout(completion, prompt, **fields)).score


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("It lasts six months [1]. Rinse it [1, 2].", [("It lasts six months", "[1]"), ("Rinse it", "[1] [2]")]),
        ("It lasts six months. [1] Rinse it weekly.", [("It lasts six months.", "[1]"), ("Rinse it weekly.", "")]),
        ("According to [1], it lasts six months.", [(", it lasts six months.", "[1]")]),
        (
            "Six months [1], and the jug holds a litre [2].",
            [("Six months", "[1]"), (", and the jug holds a litre", "[2]")],
        ),
        (
            "1. Six months\n2. Cold water [1]\n\n[2] The jug",
            [("Six months", ""), ("Cold water", "[1]"), ("The jug", "[2]")],
        ),
        ("It holds 1.2 litres, e.g. of tea. Yes.", [("It holds 1.2 litres, e.g. of tea.", "")]),
        ("Yes [1].", [("Yes.", "[1]")]),
        ("", []),
    ],
)
def test_a_reply_is_cut_into_claims_at_its_sentences_and_citations(reply: str, expected: list[tuple[str, str]]) -> None:
    found = [(claim.text, " ".join(each.text for each in claim.cited)) for claim in claims(reply, "en")]
    assert found == expected


def test_passages_are_the_entries_of_a_list_or_begin_with_their_numbers() -> None:
    assert passages_of(["a", "b"]) == {1: "a", 2: "b"}
    assert passages_of("Found:\n[2] a\nb\n[5] c") == {2: "a\nb", 5: "c"}
    assert passages_of("no numbers") == {1: "no numbers"}


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("It lasts six months.", 1.0),
        ("It lasts 6 months [1].", 1.0),
        ("It lasts eight months [1].", 0.0),
        ("It lasts six months [1]. It is made of titanium.", 0.5),
        ("The lamp comes on after 2000 cups.", 1.0),
        ("The filter lasts six months and the jug holds 1.2 litres.", 0.0),
        ("The filter lasts six months [1] and the jug holds 1.2 litres [2].", 1.0),
        ("Kestrel filter months water jug glass litres.", 0.0),
        ("Yes.", 0.0),
        ("[1]", 0.0),
        ("", 0.0),
    ],
)
def test_a_claim_is_supported_by_the_words_and_numbers_of_a_passage(reply: str, score: float) -> None:
    assert supported(reply) == score


def test_words_of_the_question_are_no_support() -> None:
    asked = "May I put the jug into the microwave?"
    assert supported("Yes, you may put the jug into the microwave.", asked) == 0.0
    assert supported("No, wash the jug by hand.", asked) == 1.0
    inside = Rollout(f"{KETTLE}\n\n{FILTER}", "It lasts six months.", fields={"context": KETTLE})
    assert SupportedBy()(inside).score == 1.0


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("The passages do not say how many watts it takes.", 1.0),
        ("There is no information about its power in the manual, so I cannot answer.", 1.0),
        ("The wattage is not stated in the passages.", 1.0),
        ("None of the three passages mentions watts.", 1.0),
        ("The passages do not say it; they say that the jug holds 1.2 litres [2].", 1.0),
        ("The passages do not say it, but it takes 900 watts.", 0.0),
        ("The passages do not say it but it is made of titanium.", 0.0),
        ("The passages do not say it. It takes 900 watts.", 0.0),
    ],
)
def test_a_refusal_states_nothing_and_hides_no_claim(reply: str, score: float) -> None:
    assert supported(reply, "How much power does it take?") == score
    assert Refuses()(rollout(reply, answerable=False)).score == 1.0
    assert Refuses()(rollout(reply, answerable="true")).score == 0.0


def test_an_answer_or_an_empty_reply_is_no_refusal() -> None:
    for reply in ("It lasts six months [1].", "Do not wash it in the dishwasher, says the manual.", "No, never.", ""):
        assert Refuses()(rollout(reply, answerable=False)).score == 0.0
        assert Refuses()(rollout(reply)).score == float(bool(reply))
    assert Refuses()(rollout("Six months.", answerable="maybe")).score is None


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("It lasts six months [1].", 1.0),
        ("It lasts six months [2].", 0.0),
        ("It lasts six months [9].", 0.0),
        ("It lasts six months [1][2].", 0.5),
        ("It lasts six months [1-3].", 1 / 3),
        ("It lasts eight months [1].", 0.0),
        ("The filter lasts six months and the jug holds 1.2 litres [1][2].", 1.0),
        ("The filter lasts six months [1] and the jug holds 1.2 litres [1].", 0.5),
        ("It lasts six months.", 0.0),
        ("[1]", 0.0),
    ],
)
def test_a_citation_is_valid_where_its_passage_supports_the_claim_and_is_needed(reply: str, score: float) -> None:
    assert cited(reply) == pytest.approx(score)


def test_a_refusal_needs_no_citation_where_there_is_no_answer() -> None:
    assert cited("The passages do not say it.", answerable=False) == 1.0
    assert cited("It takes 900 watts [1].", answerable=False) == 0.0
    assert cited("The passages do not say it.") == 0.0
