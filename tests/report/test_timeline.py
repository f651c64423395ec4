"""The alarm timeline: a row an alarm, a cell a round."""

from typing import Any

from rft_pipeline.report.timeline import CAUSES, Cell, last_alarm, timeline
from tests.report.simulated import simulated


def verdict(*findings: tuple[str, str, str]) -> dict[str, Any]:
    return {"findings": [{"cause": cause, "level": level, "sentence": sentence} for cause, level, sentence in findings]}


def test_every_alarm_that_a_synthetic_campaign_raises_has_a_row() -> None:
    report, _ = simulated("length", rounds=1)
    causes = {found["cause"] for each in report["alarms"]["verdicts"] for found in each["findings"]}
    assert causes <= set(CAUSES)
    assert len(timeline(report["alarms"]["verdicts"])) == len(causes)


def test_the_title_says_that_the_score_fell_where_it_fell() -> None:
    up, down = (
        {"level": "warn", **verdict(("over_optimisation", "ok", ""), ("unseen_gain", "warn", "too little"))}
        for _ in range(2)
    )
    for found in down["findings"]:
        found["fell"] = True
    assert [row.name for row in timeline([down, up])][1] == "Score of the alarms' judge up too little"
    assert [row.name for row in timeline([up, down])][1] == "Score of the alarms' judge fell"
    assert last_alarm([down]) == ("warn", ("Score of the alarms' judge fell",))
    assert timeline([down])[0].name == "Reward up, score of the alarms' judge not", "it did not fire"
    down["findings"][0]["level"] = "warn"
    assert last_alarm([down]) == ("warn", ("Reward up, score of the alarms' judge down",)), "said once"


def test_a_cell_is_the_gravest_finding_of_its_cause_and_says_why() -> None:
    first = verdict(("kl", "ok", "near"), ("judge_drift", "warn", "polite moved"), ("judge_drift", "stop", "kind fell"))
    second = verdict(("kl", "warn", "far"))
    rows = {row.name: row.cells for row in timeline([first, second])}
    assert rows == {
        "KL to the baseline": (Cell("ok", "near"), Cell("warn", "far")),
        "Judge drift": (Cell("stop", "kind fell"), Cell("", "not checked")),
    }
