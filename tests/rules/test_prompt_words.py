"""Rules about the words that a reply takes from its prompt."""

from typing import Any

import pytest
import stopwordsiso
from pydantic import ValidationError

from rft_pipeline.rules import Rollout, RuleScore
from rft_pipeline.rules.content_words import LANGUAGES
from rft_pipeline.rules.prompt_words import CopiedRun, GroundedWords

LAMP = "My lamps arrived broken, I’m upset."


def grounded(
    completion: str, prompt: str = LAMP, *, system: str = "", fields: Any = None, **settings: Any
) -> RuleScore:
    return GroundedWords(**settings)(Rollout(prompt, completion, "stop", fields or {}, system))


def test_content_words_count_each_time_and_by_their_stems() -> None:
    """lamp, broken, refund, arrives, refund: the stop words are I'm, sorry, your, is, a."""
    found = grounded("I'm sorry your lamp is broken. A refund arrives: a REFUND.")
    assert found.score == pytest.approx(3 / 5)
    assert found.reason == "3 of 5 content words are in the prompt; not refund"


def test_the_reason_names_the_first_words_that_are_new() -> None:
    found = grounded("Lamp refund courier friday warehouse van voucher.")
    assert found == (pytest.approx(1 / 7), found.reason)
    assert found.reason.endswith("; not refund, courier, friday, warehouse, van, …")


@pytest.mark.parametrize("completion", ["", "…", "What is your order number?"])
def test_a_reply_without_content_words_scores_0(completion: str) -> None:
    assert grounded(completion) == (0.0, "no content words")


@pytest.mark.parametrize(
    ("completion", "score"),
    [
        ("Three lamps", 1.0),
        ("3 lamps", 1.0),
        ("Four lamps", 1 / 2),
        ("Three hundred lamps", 2 / 3),
        ("Lamps for 40", 1.0),
        ("Lamps for 400", 1 / 2),
        ("Three-year lamp", 1.0),
        ("LF-31942", 1.0),
        ("LF-3194", 1 / 2),
    ],
)
def test_a_number_is_grounded_if_the_prompt_has_it_in_digits_or_in_words(completion: str, score: float) -> None:
    prompt = "LF-31942: three lamps for 40, with a three year warranty."
    assert grounded(completion, prompt).score == pytest.approx(score)


def test_the_prompts_own_system_turn_grounds_words_too() -> None:
    assert grounded("A refund.", system="Refunds take two weeks.").score == 1.0


def test_words_of_a_column_count_in_place_of_the_prompts() -> None:
    passages = {"context": ["Refunds take weeks.", "Couriers come daily."]}
    assert grounded("The courier refunded lamps.", column="context", fields=passages).score == pytest.approx(2 / 3)


@pytest.mark.parametrize("value", [None, "", " ", [], ["a", ""], True, {"a": 1}])
def test_without_a_text_in_the_column_the_reply_is_unscored(value: Any) -> None:
    rule = GroundedWords(column="context")
    assert rule(Rollout(LAMP, "A lamp.", "stop", {"context": value})).score is None
    (column,) = rule.columns()
    assert column.needed
    assert not column.can_be(value)


def test_stems_and_stop_words_are_those_of_the_language() -> None:
    assert grounded("l'écurie a des chevaux", "Les chevaux de l’écurie", language="fr").score == 1.0
    assert grounded("Die Lampen sind kaputt", "Meine Lampe ist kaputt", language="de").score == 1.0


def test_every_language_has_a_stemmer_and_stop_words_and_another_is_refused_with_their_list() -> None:
    for language in LANGUAGES:
        assert stopwordsiso.stopwords(language)
        assert grounded("Lamp", language=language).reason
    with pytest.raises(ValidationError, match=r"allowed \(ISO 639-1\): ar, ca, .*, en, "):
        GroundedWords(language="xx")


@pytest.mark.parametrize(
    ("completion", "score", "run"),
    [
        ("The lamp is on its way.", 1.0, "1 word in a row from the prompt: 'lamp'"),
        ("So your lamp arrived broken.", 1.0, "3 words in a row from the prompt: 'lamp arrived broken'"),
        ("A LAMP arrived, broken – today?", 2 / 3, "4 words in a row from the prompt: 'LAMP arrived broken today'"),
        (
            "Your lamp arrived broken today again.",
            1 / 3,
            "5 words in a row from the prompt: 'lamp arrived broken today again'",
        ),
        (
            "My lamp arrived broken today, again and again.",
            0.0,
            "8 words in a row from the prompt: 'My lamp arrived broken today again and again'",
        ),
    ],
)
def test_a_copied_run_costs_from_free_to_most(completion: str, score: float, run: str) -> None:
    found = CopiedRun()(Rollout("My lamp arrived broken today again and again", completion))
    assert found == (pytest.approx(score), run)


def test_limits_of_a_copied_run_are_settings() -> None:
    prompt, copy = "one two three four", "one two three four"
    assert CopiedRun(free=0, most=8)(Rollout(prompt, copy)).score == 0.5
    assert CopiedRun(free=4)(Rollout(prompt, copy)).score == 1.0
    assert CopiedRun()(Rollout(prompt, "nothing")) == (1.0, "no word of the prompt")
    with pytest.raises(ValidationError, match="most 3 must be above free 3"):
        CopiedRun(most=3)


@pytest.mark.parametrize(
    ("completion", "score", "run"),
    [
        ("Broken lamp arrived", 1.0, "another first word than the prompt"),
        ("My LAMP: it arrived broken today again", 1.0, "2 first words of the prompt: 'My LAMP'"),
        ("My lamp arrived", 0.5, "3 first words of the prompt: 'My lamp arrived'"),
        ("My lamp, arrived broken", 0.0, "4 first words of the prompt: 'My lamp arrived broken'"),
    ],
)
def test_a_copied_beginning_is_that_of_the_last_turn(completion: str, score: float, run: str) -> None:
    rule = CopiedRun(beginning=True, free=2, most=4)
    message = "My lamp arrived broken today"
    assert rule(Rollout(message, completion)) == (score, run)
    assert rule(Rollout(f"user: Hello\nuser: {message}", completion, last_turn=message)) == (score, run)


def test_a_long_run_is_quoted_in_part() -> None:
    text = "word " * 100
    assert (
        CopiedRun()(Rollout(text, text)).reason == f"100 words in a row from the prompt: {' '.join(['word'] * 20)!r} …"
    )
