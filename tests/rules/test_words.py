"""Words and sentence ends in many scripts."""

import pytest

from rft_pipeline.rules import Rollout
from rft_pipeline.rules.text import Finishes, Length
from rft_pipeline.rules.words import ends_as_a_sentence, sentence_ends, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't send the well-kept chair.", ["Don't", "send", "the", "well-kept", "chair"]),
        ("l’eau, 3.5 km – ok!", ["l’eau", "3.5", "km", "ok"]),
        ("我们今天去公园散步。", ["我们", "今天", "去", "公园", "散步"]),
        ("วันนี้ฉันไปสวนสาธารณะ", 6),
        ("今日は公園を散歩しました。", 7),
        ("مرحبا بك في المتجر؟", 4),
        ("आपका पार्सल आज आएगा।", 4),
        ("🙂 … --", []),
        ("a lone \ud800 surrogate", ["a", "lone", "surrogate"]),
        ("", []),
    ],
)
def test_words_are_those_of_the_script(text: str, expected: list[str] | int) -> None:
    found = words(text)
    assert (len(found) if isinstance(expected, int) else found) == expected


@pytest.mark.parametrize("end", [".", "!", "?", "…", "。", "？", "！", "।", "؟", "۔", "‽", "։", "።"])
@pytest.mark.parametrize("after", ["", '"', "”", "»", "」", "』", "）", "**", " 🙂", "❤️", "👍🏽", " 🇩🇪", "\n"])
def test_a_sentence_ends_in_every_script_whatever_closes_it(end: str, after: str) -> None:
    assert ends_as_a_sentence(f"done{end}{after}")


@pytest.mark.parametrize("text", ["done", "done,", "done:", "done 🙂", "- a\n- b", "done. And then", "v1.5", ""])
def test_what_stops_in_the_middle_does_not_end_as_a_sentence(text: str) -> None:
    assert not ends_as_a_sentence(text)


def test_a_run_of_marks_is_one_end_and_a_decimal_point_is_none() -> None:
    assert sentence_ends("Really?! It costs 3.5 euros. Yes…") == 3
    assert sentence_ends("我们去。你呢？") == 2


def test_rules_count_the_words_of_a_chinese_reply() -> None:
    reply = Rollout("hello", "我们今天去公园散步。")
    assert Finishes(min_words=5)(reply).score == 1
    assert Finishes(min_words=6)(reply).reason == "5 words, fewer than 6"
    assert Length(min_words=10)(reply) == (0.5, "5 words, fewer than 10")
