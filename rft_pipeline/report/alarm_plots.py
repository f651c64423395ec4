"""The alarms' plots on the report page: reward and score of the alarms' judge, by round and by KL to base."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from rft_pipeline.evaluation.compare import round_name
from rft_pipeline.report.drift_plots import anchor_scores, evidence
from rft_pipeline.report.plots import BASE, HAS_INTERVAL, INK, LAST, hex_of, styled

CAPTIONS = {
    "held_out": "Reward and score of the alarms' judge",
    "frontier": "Gain by KL to the baseline",
    "anchors": "Judge drift: scores of the same anchors",
    "drift": "Judge drift: evidence",
}
NOTES = {
    "held_out": "Change since the baseline, paired by prompt, with 95 % intervals. A real gain raises both. If only "
    "the reward rises, the policy exploits the training judge.",
    "frontier": "KL to the baseline in nats per reply, estimated on replies that the round sampled at temperature 1 "
    "without truncation; its square root is the distance d of Gao et al. (2022). If the score of the alarms' judge "
    "falls while the reward rises, the policy is over-optimised.",
    "anchors": "Mean score of the anchors labelled good (filled) and bad (hollow). Anchors are the same replies every "
    "round, so only a change of the judge moves their scores. A shorter bar means that the judge separates good from "
    "bad less well.",
    "drift": "Evidence that a judge's scores of the anchors moved; 1 is no evidence, the dashed line is an alarm. "
    "Judges that stay within their limits reach the line with a probability of at most alarms.drift_error, over all "
    "criteria, rounds and cycles. Scores are compared with the judge's first scores: if a judge scores differently "
    "each time it is asked, alarms.max_anchor_noise must be larger than that difference.",
}
HELD_OUT, REWARD = "#0f7a5a", hex_of(LAST)
HEIGHT = 210
OF_JUDGE = "score of the alarms' judge"


def alarm_charts(alarms: Mapping[str, Any]) -> dict[str, alt.LayerChart]:
    """The plots that have data, by name: `held_out`, `frontier`, `anchors`, `drift`."""
    found = {
        "held_out": _by_round(alarms["scores"], alarms["base"]),
        "frontier": _frontier(alarms["scores"], alarms["base"]),
        "anchors": anchor_scores(alarms["verdicts"]),
        "drift": evidence(alarms["verdicts"]),
    }
    return {name: chart for name, chart in found.items() if chart is not None}


def _by_round(scores: Sequence[Mapping[str, Any]], base: str) -> alt.LayerChart | None:
    points = [point for each in scores for point in _points(each, base)]
    if not any(each["reward_delta"] for each in scores):
        return None
    names = [round_name(each["round"], base) for each in scores]
    x = alt.X("round:N", sort=names, title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True))
    y = alt.Y("mean:Q", title=f"change since {base}", scale=alt.Scale(nice=True, padding=12))
    chart = alt.Chart(alt.InlineData(values=points)).encode(x=x, color=_judge(points))
    dodge = alt.XOffset("score:N", scale=alt.Scale(paddingOuter=0.9))
    interval = (
        chart.transform_filter(HAS_INTERVAL)
        .mark_rule(strokeWidth=2)
        .encode(xOffset=dodge, y=alt.Y("lower:Q"), y2="upper:Q")
    )
    point = chart.mark_point(size=80, filled=True, opacity=1).encode(xOffset=dodge, y=y)
    return styled([_zero(), interval, point], height=HEIGHT)


def _frontier(scores: Sequence[Mapping[str, Any]], base: str) -> alt.LayerChart | None:
    """Reward and score of the alarms' judge over √KL (Gao et al. 2022)."""
    kl = {0: 0.0} | {each["round"]: each["kl"]["mean"] for each in scores if each["kl"] is not None}
    if len(kl) < 2:
        return None
    points, labels = [], []
    for each in scores:
        if each["round"] not in kl or not (of_round := _points(each, base)):
            continue
        d = max(kl[each["round"]], 0.0) ** 0.5
        points += [{**point, "distance": d} for point in of_round]
        top = max(point["mean"] if point["upper"] is None else point["upper"] for point in of_round)
        labels.append({"name": round_name(each["round"], base), "distance": d, "top": top})
    x = alt.X(
        "distance:Q",
        title=f"d = √KL to {base}, √nats per reply",
        axis=alt.Axis(tickCount=6),
        scale=alt.Scale(padding=18),
    )
    y = alt.Y("mean:Q", title=f"change since {base}")
    chart = alt.Chart(alt.InlineData(values=points)).encode(x=x, color=_judge(points))
    line = chart.mark_line(strokeWidth=1.5, opacity=0.5).encode(y=y, order="distance:Q")
    interval = (
        chart.transform_filter(HAS_INTERVAL).mark_rule(strokeWidth=2, opacity=0.7).encode(y="lower:Q", y2="upper:Q")
    )
    point = chart.mark_point(size=80, filled=True, opacity=1).encode(y=y)
    name = (
        alt.Chart(alt.InlineData(values=labels))
        .mark_text(dy=-11, color=INK, fontSize=11)
        .encode(x=x, y="top:Q", text="name:N")
    )
    return styled([_zero(), line, interval, point, name], height=HEIGHT)


def _points(each: Mapping[str, Any], base: str) -> list[dict[str, Any]]:
    """A point for the reward and one for the score of the alarms' judge if it is known; the baseline is at 0."""
    found = []
    for name, shown in (("reward", "reward"), ("held_out", OF_JUDGE)):
        delta = each[f"{name}_delta"] or {"mean": 0.0, "lower95": None, "upper95": None}
        if each[name]["mean"] is not None and delta["mean"] is not None:
            found.append(
                {
                    "round": round_name(each["round"], base),
                    "score": shown,
                    "mean": delta["mean"],
                    "lower": delta["lower95"],
                    "upper": delta["upper95"],
                }
            )
    return found


def _judge(points: Sequence[Mapping[str, Any]]) -> alt.Color:
    names = [name for name in ("reward", OF_JUDGE) if any(point["score"] == name for point in points)]
    return alt.Color(
        "score:N",
        sort=names,
        scale=alt.Scale(domain=names, range=[REWARD, HELD_OUT][: len(names)]),
        legend=alt.Legend(title=None, orient="top", symbolOpacity=1),
    )


def _zero() -> alt.Chart:
    zero = alt.Chart(alt.InlineData(values=[{"zero": 0}]))
    return zero.mark_rule(color=BASE, strokeDash=[3, 4]).encode(y="zero:Q")
