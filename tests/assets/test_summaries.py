"""Summaries are as long as Dagster shows without folding, and numbers have names for people."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import judge_audit, promotion
from assets.eval_reports import alarms_in_a_sentence
from assets.stage import LONGEST, in_words, short
from assets.tables import MOST_ROWS, bar, lines
from rft_pipeline.store import Home, Record, RecordStore

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
    names = ("eval_delta_lower95", "made", "made_polite", "train", "groups_used_share", "kl_to_start")
    assert [in_words(each) for each in names] == [
        "eval change lower bound (95 %)",
        "new rows",
        "new rows of polite",
        "train prompts",
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


def test_the_reasons_of_an_audit_are_paragraphs_and_its_table_is_narrow(tmp_path: Path) -> None:
    reason = "J 0.79, 0.71 to 0.86 on 73 good and 57 bad replies; " * 4
    number = {"mean": 0.79, "lower95": 0.71, "upper95": 0.86}
    entry = {"criterion": "polite", "power": "trains", "from_people": None, "weight": 1.0, "reason": reason}
    (tmp_path / "judge_audit.json").write_text(json.dumps([{**entry, "youden_j": number, "auc": number}]))
    (tmp_path / "people.json").write_text(json.dumps({"pairs": None, "feedback": None}))
    metadata = judge_audit.BINDING.metadata(Record("tiny/judge_audit", "f", {}, "hash", folder=tmp_path))
    verdicts, why = metadata["verdicts"], metadata["why"]
    assert isinstance(verdicts, dg.MarkdownMetadataValue)
    assert verdicts.value.splitlines()[2] == "| polite | trains | trains | 1.000 | 0.790 | 0.790 |"
    assert why.value == f"**polite**: {reason}"


@pytest.mark.parametrize(("alarm", "said"), [("ok", "base"), ("warn", "base, although the alarms warn")])
def test_a_promotion_against_the_alarms_warning_says_so_first(finished_copy: Path, alarm: str, said: str) -> None:
    record = RecordStore(Home.find().store).current("tiny/promotion")
    assert record is not None
    decided = json.loads(record.path("promotion.json").read_text(encoding="utf-8"))
    chosen = next(each for each in decided["rounds"] if each["round"] == decided["promoted"])
    chosen["alarm"] = alarm
    record.path("promotion.json").write_text(json.dumps(decided), encoding="utf-8")
    assert (
        promotion.BINDING.summary(record).splitlines()[0] == f"**Round {decided['promoted']} is promoted over {said}**"
    )
