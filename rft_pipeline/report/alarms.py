"""The alarms' plots on the report page: reward beside the held-out score, by round and by distance from base."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from rft_pipeline.report.drift import anchor_scores, evidence
from rft_pipeline.report.plots import BASE, BOUNDED, INK, LAST, hex_of, round_name, styled

CAPTIONS = {
    "held_out": "Reward against held-out score",
    "frontier": "Gain by distance from base (KL frontier)",
    "anchors": "Drift: how the judges score the same anchors",
    "drift": "Drift: evidence that a judge changed",
}
NOTES = {
    "held_out": "Changes since base, paired by prompt, with 95 % intervals. A real gain lifts both; reward that rises "
    "alone is what the training judge pays for and nobody else sees.",
    "frontier": "KL to base in nats per reply, up to the token limit: the mean log-probability under the round's "
    "policy minus that under base, over replies that the round drew at temperature 1 without truncation. Its root is "
    "the distance d of Gao et al. (2022). A held-out score that turns down while the reward rises is over-optimised.",
    "anchors": "Mean score of the anchors labelled good (filled) and bad (hollow). They are the same replies every "
    "round, so only a judge can move them; a bar that shrinks is a judge that tells less.",
    "drift": "What a bet has grown to that a judge's scores of the anchors moved. At 1 nothing speaks for it. The line "
    "is an alarm. Judges whose scores move by no more than is allowed reach it with a chance of at most "
    "alarms.drift_error, over all criteria, rounds and cycles together. Scores are compared with those the judge gave "
    "at first: for a judge that answers differently when asked again, alarms.max_anchor_noise must allow for that.",
}
SEEN, UNSEEN = "#0f7a5a", hex_of(LAST)
"""Colours of the held-out score and of the reward."""
HEIGHT = 210


def alarm_charts(alarms: Mapping[str, Any]) -> dict[str, alt.LayerChart]:
    """The plots there is something to draw in, by name: `held_out`, `frontier`, `anchors`, `drift`."""
    found = {
        "held_out": _by_round(alarms["scores"]),
        "frontier": _frontier(alarms["scores"]),
        "anchors": anchor_scores(alarms["verdicts"]),
        "drift": evidence(alarms["verdicts"]),
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
    points, labels = [], []
    for each in scores:
        if each["round"] not in distance or not (here := _points(each)):
            continue
        d = distance[each["round"]]
        points += [{**point, "distance": d} for point in here]
        top = max(point["mean"] if point["upper"] is None else point["upper"] for point in here)
        labels.append({"name": round_name(each["round"]), "distance": d, "top": top})
    x = alt.X(
        "distance:Q", title="d = √KL to base, √nats per reply", axis=alt.Axis(tickCount=6), scale=alt.Scale(padding=18)
    )
    y = alt.Y("mean:Q", title="change since base")
    chart = alt.Chart(alt.InlineData(values=points)).encode(x=x, color=_judge(points))
    line = chart.mark_line(strokeWidth=1.5, opacity=0.5).encode(y=y, order="distance:Q")
    interval = chart.transform_filter(BOUNDED).mark_rule(strokeWidth=2, opacity=0.7).encode(y="lower:Q", y2="upper:Q")
    point = chart.mark_point(size=80, filled=True, opacity=1).encode(y=y)
    name = (
        alt.Chart(alt.InlineData(values=labels))
        .mark_text(dy=-11, color=INK, fontSize=11)
        .encode(x=x, y="top:Q", text="name:N")
    )
    return styled(alt.LayerChart(layer=[_zero(), line, interval, point, name]), height=HEIGHT)


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
        legend=alt.Legend(title=None, orient="top", symbolOpacity=1),
    )


def _zero() -> alt.Chart:
    zero = alt.Chart(alt.InlineData(values=[{"zero": 0}]))
    return zero.mark_rule(color=BASE, strokeDash=[3, 4]).encode(y="zero:Q")
