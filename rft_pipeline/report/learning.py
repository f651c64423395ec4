"""Learning curves: a round's numbers over its generations."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from rft_pipeline.report.plots import INK, LAST, hex_of, styled

TITLES = {
    "reward": "reward",
    "length_mean": "tokens in a reply",
    "thought_length_mean": "tokens in a thought",
    "truncated_share": "share of truncated replies",
    "groups_used_share": "share of groups with variance",
    "refilled": "prompts in place of groups without variance",
    "effective_share": "effective share",
    "clip_ratio": "share of clipped tokens",
    "kl_to_start": "KL to the start, nats a token",
    "loss": "loss",
    "logprob_gap_mean": "gap of log-probs, nats a token",
}
"""The numbers that have a panel of their own."""
CRITERIA = "score_"
HEIGHT = 150
CURVE = {"reward": 2.5}
"""Line widths; others are thin."""
SHORT_LABEL = "datum.value != 0 && abs(datum.value) < 0.001 ? format(datum.value, '.1e') : datum.label"
"""Vega's expression for labels that leave room for the axis title."""


def learning_curves(
    generations: Sequence[Mapping[str, Any]], *, only_moving: bool = False
) -> dict[str, alt.LayerChart]:
    """A chart for each number, by name: `learning_scores` holds the reward and each criterion. With `only_moving`,
    other numbers that are the same in all generations have none.

    `generations` are the lines of a checkpoint's generations.jsonl; a number that is missing has no point.
    """
    names = list(dict.fromkeys(name for each in generations for name in each))
    scores = [name for name in names if name == "reward" or name.startswith(CRITERIA)]
    found = {"learning_scores": _curves(generations, scores, "mean score of the generation")} if scores else {}
    for name in (name for name in TITLES if name in names and name != "reward"):
        if only_moving and len({each.get(name) for each in generations}) == 1:
            continue
        found[f"learning_{name}"] = _curves(generations, [name], TITLES[name])
    return found


def _curves(generations: Sequence[Mapping[str, Any]], names: Sequence[str], title: str) -> alt.LayerChart:
    points = [
        {
            "generation": each["generation"],
            "name": name.removeprefix(CRITERIA).replace("_", " "),
            "value": each[name],
            "width": CURVE.get(name, 1.2),
        }
        for name in names
        for each in generations
        if each.get(name) is not None
    ]
    shown = list(dict.fromkeys(point["name"] for point in points))
    x = alt.X("generation:Q", title="generation", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(nice=False))
    axis = alt.Axis(labelExpr=SHORT_LABEL)
    y = alt.Y("value:Q", title=title, axis=axis, scale=alt.Scale(zero=False, nice=True, padding=8))
    chart = alt.Chart(alt.InlineData(values=points)).encode(x=x, y=y)
    if len(names) == 1:
        chart = chart.encode(color=alt.value(hex_of(LAST)))
    else:
        domain = alt.Scale(domain=shown, range=[INK, *_COLOURS][: len(shown)])
        legend = alt.Legend(title=None, orient="top", symbolType="stroke", columns=4)
        chart = chart.encode(color=alt.Color("name:N", sort=shown, scale=domain, legend=legend))
    line = chart.mark_line(opacity=0.85).encode(strokeWidth=alt.StrokeWidth("width:Q", scale=None, legend=None))
    dots = chart.mark_point(filled=True, size=22, opacity=0.9)
    return styled([line, dots], height=HEIGHT)


_COLOURS = ["#4353c9", "#0f7a5a", "#c2410c", "#7c3aed", "#0e7490", "#be123c", "#a16207", "#4d7c0f", "#64748b"]
