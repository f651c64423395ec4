"""The alarm timeline: a row an alarm, a cell a round."""

from typing import Any

from rft_pipeline.report.timeline import CAUSES, Cell, timeline
from tests.report.simulated import simulated


def verdict(*findings: tuple[str, str, str]) -> dict[str, Any]:
    return {"findings": [{"cause": cause, "level": level, "sentence": sentence} for cause, level, sentence in findings]}


def test_every_alarm_that_a_synthetic_campaign_raises_has_a_row() -> None:
    report, _ = simulated("length", rounds=1)
    causes = {found["cause"] for each in report["alarms"]["verdicts"] for found in each["findings"]}
    assert causes <= set(CAUSES)
    assert len(timeline(report["alarms"]["verdicts"])) == len(causes)


def test_a_cell_is_the_gravest_finding_of_its_cause_and_says_why() -> None:
    first = verdict(("kl", "ok", "near"), ("judge_drift", "warn", "polite moved"), ("judge_drift", "stop", "kind fell"))
    second = verdict(("kl", "warn", "far"))
    rows = {row.name: row.cells for row in timeline([first, second])}
    assert rows == {
        "KL to the baseline": (Cell("ok", "near"), Cell("warn", "far")),
        "Judge drift": (Cell("stop", "kind fell"), Cell("", "not checked")),
    }
