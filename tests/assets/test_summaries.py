"""Summaries are as long as Dagster shows without folding, and numbers have names for people."""

from typing import Any

import pytest

from assets.eval_reports import alarms_in_a_sentence
from assets.stage import LONGEST, in_words, short
from assets.tables import MOST_ROWS, bar, lines

ROWS = [(f"a_criterion_with_a_name_{number}", f"{bar(number / 30)} {number / 30:.3f}") for number in range(30)]


def test_a_table_says_how_many_rows_it_leaves_out() -> None:
    assert lines(ROWS[:MOST_ROWS], ("criterion", "mean")).count("\n") == MOST_ROWS + 1
    shown = lines(ROWS, ("criterion", "mean"))
    assert shown.endswith("and 20 more, below")
    assert len(f"**30 judgements.**\n\n{shown}") < LONGEST


@pytest.mark.parametrize("text", ["**a**\n\n" + "- some change\n" * 200, "word " * 400, "x" * 3000])
def test_a_long_summary_ends_with_a_whole_line_or_word(text: str) -> None:
    shown = short(text)
    assert len(shown) < LONGEST
    kept = shown.removesuffix("\n\n… and more, below")
    assert kept != shown
    assert text.startswith(kept)
    if " " in text:
        assert text[len(kept)].isspace()


def test_a_short_summary_stays() -> None:
    assert short("**3 criteria.**") == "**3 criteria.**"


def test_numbers_have_names_for_people() -> None:
    names = ("eval_delta_lower95", "made", "made_polite", "groups_used_share", "kl_to_start")
    assert [in_words(each) for each in names] == [
        "eval change lower bound (95 %)",
        "new rows",
        "new rows of polite",
        "groups used share",
        "KL to start",
    ]


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ({}, "Alarms: not watched (no `alarms` block in campaign.yaml)"),
        ({"alarms": {"verdicts": [{"level": "ok", "findings": []}]}}, "Alarms: ok"),
        (
            {
                "alarms": {
                    "verdicts": [{"level": "warn", "findings": [{"cause": "kl", "level": "warn", "sentence": ""}]}]
                }
            },
            "Alarms: **warn** (KL to the baseline); read the replies on the page",
        ),
    ],
)
def test_alarms_that_fired_are_named_and_missing_ones_are_not_watched(report: dict[str, Any], said: str) -> None:
    assert alarms_in_a_sentence(report) == said
