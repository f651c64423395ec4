"""The anchors' plots, from three rounds of one criterion."""

from typing import Any

import altair as alt

from rft_pipeline.report.drift_plots import anchor_scores, evidence


def verdicts(*by_round: tuple[float | None, float | None, float, float]) -> list[dict[str, Any]]:
    """A verdict a round, from good, bad, evidence and worse; an alarm at 20."""
    return [
        {
            "round": number,
            "anchors": {"is_kind": {"good": good, "bad": bad, "evidence": found, "worse": worse}},
            "findings": [{"cause": "judge_drift", "limit": 20.0}],
        }
        for number, (good, bad, found, worse) in enumerate(by_round, 1)
    ]


def values(chart: Any, layer: int) -> list[dict[str, Any]]:
    """What a layer draws; where all draw the same, Altair keeps it at the chart."""
    data = chart.layer[layer].data
    return list((chart if data is alt.Undefined else chart.layer[layer]).data.values)


def test_a_bar_lies_between_the_bad_and_the_good_anchors_of_each_round() -> None:
    chart = anchor_scores(verdicts((0.8, 0.3, 1, 1), (0.7, 0.4, 3, 2)))
    assert values(chart, 0) == [
        {"criterion": "is kind", "round": "round 1", "good": 0.8, "bad": 0.3},
        {"criterion": "is kind", "round": "round 2", "good": 0.7, "bad": 0.4},
    ]


def test_only_a_few_of_many_rounds_are_drawn_the_first_and_the_last_among_them() -> None:
    bars = values(anchor_scores(verdicts(*[(0.8, None, 1, 1)] * 9)), 0)
    assert [bar["round"] for bar in bars] == ["round 1", "round 4", "round 6", "round 9"]


def test_the_evidence_drawn_is_what_the_alarm_reads_and_beyond_what_is_drawn_lies_on_the_edge() -> None:
    chart = evidence(verdicts((0.8, 0.3, 1, 1), (0.7, 0.4, 3, 9), (0.5, 0.5, 1e9, 1e12)))
    assert [point["evidence"] for point in values(chart, 1)] == [1, 3, 2000]
    assert values(chart, 0) == [{"line": 20.0, "label": "alarm at 20"}]


def test_without_anchors_or_a_second_round_there_is_nothing_to_draw() -> None:
    assert evidence(verdicts((0.8, 0.3, 1, 1))) is None
    nobody = [{**each, "anchors": {}, "findings": []} for each in verdicts((0.8, 0.3, 1, 1), (0.8, 0.3, 1, 1))]
    assert anchor_scores(nobody) is None
    assert evidence(nobody) is None
