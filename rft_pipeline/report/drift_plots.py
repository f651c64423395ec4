"""The judges' anchors on the report page: their scores by round, and the evidence that a judge changed."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from rft_pipeline.evaluation.compare import round_name
from rft_pipeline.report.plots import by_criterion, few, round_colour, styled

JUDGES = ("#4353c9", "#0f7a5a", "#b4372f", "#b07c00", "#7a4cb0", "#2b7fa8")
"""Colours of criteria."""
ALARM = "#b4372f"
RANGE = 100.0
"""Evidence is drawn from 1/RANGE to RANGE times the alarm line; values outside are drawn at the edge."""
HEIGHT = 210


def anchor_scores(verdicts: Sequence[Mapping[str, Any]]) -> alt.LayerChart | None:
    """Mean score of good and of bad anchors with a bar between them, by criterion and round; None without labelled
    anchors, as for criteria of the alarms."""
    scored = [each for each in verdicts if any(map(_labelled, each["anchors"].values()))]
    if not scored:
        return None
    bars = [
        {"criterion": name.replace("_", " "), "round": round_name(each["round"]), **_ends(anchors)}
        for each in few(scored)
        for name, anchors in each["anchors"].items()
        if _labelled(anchors)
    ]
    chart = alt.Chart(alt.InlineData(values=bars)).encode(**by_criterion(bars), color=round_colour(bars, legend=True))
    x = alt.X("good:Q", title="mean score of the anchors", scale=alt.Scale(domain=[0, 1]))
    strip = (
        chart.transform_filter("isValid(datum.good) && isValid(datum.bad)")
        .mark_rule(strokeWidth=3, opacity=0.45)
        .encode(x=x, x2="bad:Q")
    )
    good = chart.transform_filter("isValid(datum.good)").mark_point(size=70, filled=True, opacity=1).encode(x=x)
    bad = (
        chart.transform_filter("isValid(datum.bad)")
        .mark_point(size=60, fill="white", strokeWidth=2, opacity=1)
        .encode(x="bad:Q")
    )
    rounds = len({bar["round"] for bar in bars})
    return styled([strip, good, bad], height=alt.Step(max(12, 36 // rounds)))


def evidence(verdicts: Sequence[Mapping[str, Any]]) -> alt.LayerChart | None:
    """The e-process of each criterion's judge by round, on a log scale, with the alarm line; None before a second round
    scored the anchors."""
    lines = [found["limit"] for each in verdicts for found in each["findings"] if found["cause"] == "judge_drift"]
    if not lines or sum(bool(each["anchors"]) for each in verdicts) < 2:
        return None
    line = lines[-1]
    points = [
        {
            "round": round_name(each["round"]),
            "criterion": name.replace("_", " "),
            "evidence": min(max(anchors["evidence"], 1 / RANGE), RANGE * line),
        }
        for each in verdicts
        for name, anchors in each["anchors"].items()
    ]
    names = list(dict.fromkeys(str(point["criterion"]) for point in points))
    colour = alt.Color(
        "criterion:N",
        sort=names,
        scale=alt.Scale(domain=names, range=[JUDGES[place % len(JUDGES)] for place in range(len(names))]),
        legend=alt.Legend(title=None, orient="top", columns=3),
    )
    x = alt.X("round:N", sort=None, title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True))
    y = alt.Y(
        "evidence:Q",
        title="evidence E, log scale",
        scale=alt.Scale(type="log", padding=12),
        axis=alt.Axis(format="~g", values=[10.0**power for power in range(-2, 6)]),
    )
    dodge = alt.XOffset("criterion:N", sort=names, scale=alt.Scale(paddingOuter=0.9))
    chart = alt.Chart(alt.InlineData(values=points)).encode(x=x, color=colour)
    point = chart.mark_point(size=80, filled=True, opacity=1).encode(xOffset=dodge, y=y)
    alarm = alt.Chart(alt.InlineData(values=[{"line": line, "label": f"alarm at {line:g}"}]))
    rule = alarm.mark_rule(color=ALARM, strokeDash=[5, 4], strokeWidth=1.5).encode(y="line:Q")
    label = alarm.mark_text(align="left", dx=4, dy=-7, color=ALARM, fontSize=11).encode(
        x=alt.value(0), y="line:Q", text="label:N"
    )
    return styled([rule, point, label], height=HEIGHT)


def _labelled(anchors: Mapping[str, Any]) -> bool:
    return any(end is not None for end in _ends(anchors).values())


def _ends(anchors: Mapping[str, Any]) -> dict[str, float | None]:
    return {"good": anchors["good"], "bad": anchors["bad"]}
