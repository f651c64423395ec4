"""The page of a report with alarms."""

from typing import Any

import polars as pl
import pytest

from rft_pipeline.report.alarms import alarm_charts
from rft_pipeline.report.page import render_page
from rft_pipeline.report.plots import to_png
from tests.report.simulated import simulated


@pytest.fixture(scope="module")
def gamed() -> tuple[dict[str, Any], dict[int, pl.DataFrame]]:
    return simulated("phrase")


def test_the_page_says_what_fired_in_each_round_and_where_the_next_one_starts(
    gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]],
) -> None:
    report, rows = gamed
    page = render_page(report, rows, "Support", "")
    section = page[page.index('<section id="alarms">') : page.index("<h2>Criteria")]
    assert section.count('class="chip stop"') == sum(each["level"] == "stop" for each in report["alarms"]["verdicts"])
    assert "A phrase pays: &#34;" in section
    assert "Judge of kind: another judge answers than at first" in section
    assert all(f'<figure id="plot-{name}">' in section for name in ("held_out", "frontier", "drift"))
    assert f"The next round starts from round {report['alarms']['start_round']}." in section


def test_all_alarm_plots_draw(gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]]) -> None:
    for chart in alarm_charts(gamed[0]["alarms"]).values():
        assert to_png(chart).startswith(b"\x89PNG")


def test_without_a_held_out_judge_and_anchors_only_the_reward_is_drawn() -> None:
    report, _ = simulated("none", rounds=1)
    alarms = report["alarms"]
    for each in alarms["scores"]:
        each["held_out"] = {"mean": None, "lower95": None, "upper95": None}
        each["kl"] = None
    for each in alarms["verdicts"]:
        each["anchors"] = {}
    assert list(alarm_charts(alarms)) == ["held_out"]


def test_a_report_without_alarms_has_no_section_for_them(gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]]) -> None:
    report = {name: value for name, value in gamed[0].items() if name != "alarms"}
    assert 'id="alarms"' not in render_page(report, gamed[1], "Support", "")
