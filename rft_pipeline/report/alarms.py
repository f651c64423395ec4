"""The alarms on the report page: what fired when, reward beside the held-out score, and the judges' anchors."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from rft_pipeline.report.plots import BASE, BOUNDED, INK, LAST, hex_of, round_name, styled

CAPTIONS = {
    "held_out": "Reward against held-out score",
    "frontier": "Gain by distance from base",
    "drift": "Drift: the same anchors' distance to their labels",
}
SEEN, UNSEEN = "#0f7a5a", hex_of(LAST)
"""Colours of the held-out score and of the reward."""
JUDGES = ("#4353c9", "#0f7a5a", "#b4372f", "#8a5a00", "#7a4cb0", "#2b7fa8")
HEIGHT = 210


def alarm_charts(alarms: Mapping[str, Any]) -> dict[str, alt.LayerChart]:
    """The plots there is something to draw in, by name: `held_out`, `frontier`, `drift`."""
    found = {
        "held_out": _by_round(alarms["scores"]),
        "frontier": _frontier(alarms["scores"]),
        "drift": _drift(alarms["verdicts"]),
    }
    return {name: chart for name, chart in found.items() if chart is not None}


def _by_round(scores: Sequence[Mapping[str, Any]]) -> alt.LayerChart | None:
    points = [point for each in scores for point in _points(each)]
    if not any(each["reward_delta"] for each in scores):
        return None
    names = [round_name(each["round"]) for each in scores]
    x = alt.X("round:N", sort=names, title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True))
    y = alt.Y("mean:Q", title="change since base", scale=alt.Scale(nice=True, padding=12))
    chart = alt.Chart(alt.InlineData(values=points)).encode(x=x, color=_judge(points))
    dodge = alt.XOffset("score:N", scale=alt.Scale(paddingOuter=0.9))
    interval = (
        chart.transform_filter(BOUNDED).mark_rule(strokeWidth=2).encode(xOffset=dodge, y=alt.Y("lower:Q"), y2="upper:Q")
    )
    point = chart.mark_point(size=80, filled=True, opacity=1).encode(xOffset=dodge, y=y)
    return styled(alt.LayerChart(layer=[_zero(), interval, point]), height=HEIGHT)


def _frontier(scores: Sequence[Mapping[str, Any]]) -> alt.LayerChart | None:
    """Reward and held-out score over √KL (Gao et al. 2022): over-optimised is what turns down while the other rises."""
    far = [{"round": 0, "mean": 0.0}] + [
        {"round": each["round"], "mean": each["kl"]["mean"]} for each in scores if each["kl"] is not None
    ]
    if len(far) < 2:
        return None
    distance = {each["round"]: max(each["mean"], 0.0) ** 0.5 for each in far}
    points = [
        {**point, "distance": distance[each["round"]]}
        for each in scores
        if each["round"] in distance
        for point in _points(each)
    ]
    x = alt.X("distance:Q", title="√KL to base, √nats a reply", axis=alt.Axis(tickCount=6))
    chart = alt.Chart(alt.InlineData(values=points)).encode(
        x=x, y=alt.Y("mean:Q", title="change since base"), color=_judge(points)
    )
    line = chart.mark_line(strokeWidth=1.5, opacity=0.5).encode(order="distance:Q")
    label = (
        chart.transform_filter("datum.score == 'reward'")
        .mark_text(dy=-11, color=INK, fontSize=11)
        .encode(text="round:N", color=alt.value(INK))
    )
    return styled(
        alt.LayerChart(layer=[_zero(), line, chart.mark_point(size=80, filled=True, opacity=1), label]), height=HEIGHT
    )


def _drift(verdicts: Sequence[Mapping[str, Any]]) -> alt.LayerChart | None:
    points = [
        {
            "round": round_name(each["round"]),
            "criterion": name.replace("_", " "),
            "mean": anchors["gap"]["mean"],
            "lower": anchors["gap"]["lower95"],
            "upper": anchors["gap"]["upper95"],
        }
        for each in verdicts
        for name, anchors in each["anchors"].items()
    ]
    if not points:
        return None
    names = list(dict.fromkeys(str(point["criterion"]) for point in points))
    colour = alt.Color(
        "criterion:N",
        sort=names,
        scale=alt.Scale(domain=names, range=[JUDGES[place % len(JUDGES)] for place in range(len(names))]),
        legend=alt.Legend(title=None, orient="top"),
    )
    x = alt.X("round:N", sort=None, title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True))
    y = alt.Y("mean:Q", title="mean distance of score and label", scale=alt.Scale(nice=True, padding=12))
    chart = alt.Chart(alt.InlineData(values=points)).encode(x=x, color=colour)
    dodge = alt.XOffset("criterion:N", sort=names, scale=alt.Scale(paddingOuter=0.9))
    interval = (
        chart.transform_filter(BOUNDED).mark_rule(strokeWidth=2).encode(xOffset=dodge, y=alt.Y("lower:Q"), y2="upper:Q")
    )
    point = chart.mark_point(size=80, filled=True, opacity=1).encode(xOffset=dodge, y=y)
    return styled(alt.LayerChart(layer=[interval, point]), height=HEIGHT)


def _points(each: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A point for reward, and one for the held-out score where there is one; base lies at 0."""
    found = []
    for name, shown in (("reward", "reward"), ("held_out", "held-out score")):
        delta = each[f"{name}_delta"] or {"mean": 0.0, "lower95": None, "upper95": None}
        if each[name]["mean"] is not None and delta["mean"] is not None:
            found.append(
                {
                    "round": round_name(each["round"]),
                    "score": shown,
                    "mean": delta["mean"],
                    "lower": delta["lower95"],
                    "upper": delta["upper95"],
                }
            )
    return found


def _judge(points: Sequence[Mapping[str, Any]]) -> alt.Color:
    names = [name for name in ("reward", "held-out score") if any(point["score"] == name for point in points)]
    return alt.Color(
        "score:N",
        sort=names,
        scale=alt.Scale(domain=names, range=[UNSEEN, SEEN][: len(names)]),
        legend=alt.Legend(title=None, orient="top"),
    )


def _zero() -> alt.Chart:
    zero = alt.Chart(alt.InlineData(values=[{"zero": 0}]))
    return zero.mark_rule(color=BASE, strokeDash=[3, 4]).encode(y="zero:Q")
