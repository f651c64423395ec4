import pytest
from pydantic import ValidationError

from rft_pipeline.rules import Rollout
from rft_pipeline.rules.language import LANGUAGES, Language, _identifier
from rft_pipeline.rules.readability import Readability

ENGLISH = "Thank you for your message, we are on it."
GERMAN = "Vielen Dank für Ihre Nachricht, wir melden uns."


def score(language: str, completion: str) -> float | None:
    return Language(language=language)(Rollout("", completion)).score


def test_a_reply_in_the_language_scores_one_and_in_another_nearly_zero() -> None:
    assert score("en", ENGLISH) == 1.0
    assert score("en", GERMAN) == pytest.approx(0, abs=0.01)
    assert score("zh", "很抱歉给您带来不便，请提供您的订单号，我们会尽快处理。") == 1.0


def test_a_mixed_reply_scores_the_share_of_its_letters() -> None:
    letters = [sum(map(str.isalpha, text)) for text in (ENGLISH, GERMAN)]
    assert score("en", f"{ENGLISH} {GERMAN}") == pytest.approx(letters[0] / sum(letters), abs=0.01)


def test_code_and_links_are_no_language() -> None:
    assert score("de", f"{GERMAN}\n```\nprint('the thing that you ordered is on its way')\n```") == 1.0


@pytest.mark.parametrize(("short", "expected"), [("unscored", None), ("good", 1.0), ("bad", 0.0)])
def test_a_reply_too_short_to_tell_is_what_the_rubric_says(short: str, expected: float | None) -> None:
    rule = Language.model_validate({"language": "en", "short": short})
    assert rule(Rollout("", "Of course.")).score == expected
    assert rule(Rollout("", " \n")).score == 0.0


def test_an_unknown_language_lists_the_known_ones() -> None:
    with pytest.raises(ValidationError, match=r"allowed .ISO 639-1.: af, am, an"):
        Language(language="english")


def test_the_codes_are_those_of_the_library() -> None:
    assert set(_identifier().labels) == LANGUAGES


def test_readability_falls_linearly_outside_its_grades() -> None:
    hard = Rollout("", "four four four. four four four four four.")
    # 32 letters in 8 words, 2 sentences: 4.71·32/8 + 0.5·8/2 − 21.43 = −0.59
    assert Readability(min_grade=-1)(hard) == (1.0, "grade -0.6")
    assert Readability(min_grade=1.91)(hard).score == pytest.approx(0.5)
    assert Readability(min_grade=9)(hard).score == 0.0
    assert Readability(max_grade=8)(Rollout("", "")) == (0.0, "holds no words")


def test_readability_needs_bounds_that_can_be_met() -> None:
    with pytest.raises(ValidationError, match="without a bound every reply passes"):
        Readability()
    with pytest.raises(ValidationError, match="nothing can pass"):
        Readability(min_grade=9, max_grade=8)
