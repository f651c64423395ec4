"""Plots of an eval report, drawn offline: Altair charts to SVG or PNG through vl-convert, without a browser.

Altair validates each part of a chart when it is made, and all of it when it is saved, which takes longer than drawing
it; here only the tests do.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import altair as alt
import numpy as np
import polars as pl
import vl_convert
from altair.utils import schemapi

from rft_pipeline.evaluation.compare import in_order
from rft_pipeline.store.rows import ANSWER_TOKENS

schemapi.DEBUG_MODE = False

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
INK, MUTED, GRID = "#1d2433", "#667085", "#e9ecf1"
BASE, FIRST, LAST = "#a3adbd", (186, 198, 240), (67, 83, 201)
"""Colours: base is grey; the rounds go from the light blue to the dark one."""
STARTS = {"base": BASE, "start": BASE, "warm start": "#e0a458"}
WIDTH = 440
"""Pixels of a plot with its labels, so that all plots have the same text size on the page."""
HAS_INTERVAL = "isValid(datum.lower)"
SHOWN = 4
"""Most rounds in one bar chart; more would not be distinguishable."""


def charts(report: Mapping[str, Any], rows_by_round: Mapping[int, pl.DataFrame]) -> dict[str, alt.LayerChart]:
    """The plots by name: `reward`, `criteria`, `lengths`, `rewards`.

    `report` is what `compare_rounds` returns, `rows_by_round` the rows it was made from. The last two compare the
    replies of the baseline with those of the last round.
    """
    rounds = report["rounds"]
    ends = {row["name"]: rows_by_round[row["round"]] for row in (rounds[0], rounds[-1])}
    lengths = {name: rows.select(ANSWER_TOKENS).to_series().to_numpy() for name, rows in ends.items()}
    rewards = {name: rows["reward"].drop_nulls().to_numpy() for name, rows in ends.items()}
    return {
        "reward": _reward_by_round(in_order(report), rounds[0]["name"]),
        "criteria": _criteria_by_round(in_order(report)),
        "lengths": _distribution(lengths, length_edges(lengths), "tokens in a reply"),
        "rewards": _distribution(rewards, np.linspace(0, 1, 21), "reward of a reply"),
    }


def to_svg(chart: alt.LayerChart | alt.FacetChart) -> str:
    return drawn(json.dumps(chart.to_dict(validate=False)))


def to_png(chart: alt.LayerChart | alt.FacetChart) -> bytes:
    """As large as on a page: Dagster shows a pixel as a pixel, and cuts what is wider than its column."""
    return bytes(vl_convert.svg_to_png(to_svg(chart)))


@lru_cache(maxsize=64)
def drawn(spec: str) -> str:
    """The SVG of a chart: a page shows it, and a picture is made from it."""
    return str(vl_convert.vegalite_to_svg(spec))


def length_edges(lengths: Mapping[str, np.ndarray]) -> np.ndarray:
    """Edges of at most 24 bins of equal integer width that cover the longest reply."""
    longest = max((int(values.max()) for values in lengths.values() if values.size), default=0)
    width = longest // 24 + 1
    return np.arange(0, longest + width + 1, width)


def _reward_by_round(rounds: Sequence[Mapping[str, Any]], baseline: str) -> alt.LayerChart:
    """The reward of each policy, with a dashed line at that of the baseline."""
    points = [
        {"round": row["name"], "reward": row["reward"], "lower": row["lower95"], "upper": row["upper95"]}
        for row in rounds
        if row["reward"] is not None
    ]
    x = alt.X("round:N", sort=None, title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True))
    y = alt.Y("reward:Q", title="held-out reward", scale=alt.Scale(zero=False, nice=True, padding=12))
    chart = alt.Chart(alt.InlineData(values=points)).encode(x=x)
    compared_with = [point for point in points if point["round"] == baseline]
    start = alt.Chart(alt.InlineData(values=compared_with)).mark_rule(color=BASE, strokeDash=[3, 4]).encode(y=y)
    line = chart.mark_line(color=hex_of(LAST), strokeWidth=1.5, opacity=0.45).encode(y=y)
    interval = (
        chart.transform_filter(HAS_INTERVAL)
        .mark_rule(strokeWidth=2.5)
        .encode(y=alt.Y("lower:Q"), y2="upper:Q", color=round_colour(points))
    )
    point = chart.mark_point(size=90, filled=True, opacity=1).encode(y=y, color=round_colour(points))
    return styled([start, line, interval, point], height=210)


def _criteria_by_round(rounds: Sequence[Mapping[str, Any]]) -> alt.LayerChart:
    shown = few(rounds)
    bars = [
        {
            "criterion": name.replace("_", " "),
            "round": row["name"],
            "mean": values["mean"],
            "lower": values["lower95"],
            "upper": values["upper95"],
        }
        for row in shown
        for name, values in row["criteria"].items()
    ]
    known = [bar for bar in bars if bar["mean"] is not None]
    chart = alt.Chart(alt.InlineData(values=known)).encode(**by_criterion(bars))
    x = alt.X("mean:Q", title="mean score, with 95 % interval", scale=alt.Scale(domain=[0, 1]))
    bar = chart.mark_bar().encode(x=x, color=round_colour(bars, legend=True))
    interval = (
        chart.transform_filter(HAS_INTERVAL).mark_rule(color=INK, opacity=0.65).encode(x=alt.X("lower:Q"), x2="upper:Q")
    )
    return styled([bar, interval], height=alt.Step(max(9, 28 // len(shown))))


def few(rounds: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most `SHOWN` rounds, evenly spaced, including the first and the last."""
    return [rounds[i] for i in sorted({round(i) for i in np.linspace(0, len(rounds) - 1, SHOWN).tolist()})]


def _distribution(values_by_name: Mapping[str, np.ndarray], edges: np.ndarray, title: str) -> alt.LayerChart:
    steps = []
    for name, values in values_by_name.items():
        counts, _ = np.histogram(values, bins=edges)
        shares = counts / max(len(values), 1)
        heights = [*shares.tolist(), 0.0]
        steps += [
            {"round": name, "value": float(edge), "share": height} for edge, height in zip(edges, heights, strict=True)
        ]
    area = (
        alt.Chart(alt.InlineData(values=steps))
        .mark_area(interpolate="step-after", fillOpacity=0.28, line={"strokeWidth": 1.6})
        .encode(
            x=alt.X("value:Q", title=title, scale=alt.Scale(domain=[float(edges[0]), float(edges[-1])], nice=False)),
            y=alt.Y("share:Q", title="share of replies", stack=None, axis=alt.Axis(format="%", tickCount=4)),
            color=round_colour(steps, legend=True),
        )
    )
    return styled([area], height=170)


def by_criterion(bars: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Encodings of bars with `criterion` and `round`: one band per criterion, with a bar per round."""
    criteria, rounds = (list(dict.fromkeys(bar[name] for bar in bars)) for name in ("criterion", "round"))
    spaced = alt.Scale(paddingInner=0.3, paddingOuter=0.1)
    return {
        "y": alt.Y("criterion:N", sort=criteria, title=None, scale=spaced),
        "yOffset": alt.YOffset("round:N", sort=rounds),
    }


def round_colour(points: Sequence[Mapping[str, Any]], legend: bool = False) -> alt.Color:
    """One colour per round, the last the darkest."""
    names = list(dict.fromkeys(str(point["round"]) for point in points))
    tuned = [name for name in names if name not in STARTS]
    darkness = np.linspace(0, 1, len(tuned)) if len(tuned) > 1 else [1.0]
    mixed = [hex_of(tuple(round(a + (b - a) * t) for a, b in zip(FIRST, LAST, strict=True))) for t in darkness]
    colours = {**STARTS, **dict(zip(tuned, mixed, strict=False))}
    shown = alt.Legend(title=None, orient="top", symbolType="square", symbolOpacity=1) if legend else None
    return alt.Color(
        "round:N", scale=alt.Scale(domain=names, range=[colours[name] for name in names]), sort=names, legend=shown
    )


def hex_of(rgb: tuple[int, ...]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def styled(layers: list[alt.Chart], height: float | alt.Step) -> alt.LayerChart:
    """A chart of these layers, as large and as coloured as all plots of a report."""
    return alt.LayerChart(
        layer=layers,
        width=WIDTH,
        height=height,
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
        config=_config(),
    )


@cache
def _config() -> alt.Config:
    return themed(view=alt.ViewConfig(stroke=None), axisX=alt.AxisConfig(grid=False, labelFlush=False))


def themed(**more: Any) -> alt.Config:
    """The fonts and colours of all plots."""
    text = {"labelFontSize": 12, "titleFontSize": 12, "labelColor": MUTED, "titleColor": MUTED, "titleFontWeight": 400}
    axis = {"gridColor": GRID, "domainColor": GRID, "ticks": False, "labelPadding": 8, "titlePadding": 10, **text}
    return alt.Config(
        font=FONT,
        background="white",
        axis=alt.AxisConfig(**axis),
        legend=alt.LegendConfig(labelFontSize=12, labelColor=INK, symbolSize=90),
        **more,
    )
