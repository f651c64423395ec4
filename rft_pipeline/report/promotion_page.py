"""The page of a promotion: which round became the champion, and each round's bounds."""

from collections.abc import Mapping
from typing import Any

import altair as alt
from markupsafe import Markup

from rft_pipeline.evaluation.compare import round_name
from rft_pipeline.promotion.decide import PEOPLE, PROMPTS
from rft_pipeline.promotion.looks import confidence
from rft_pipeline.report.plots import GRID, INK, themed, to_svg
from rft_pipeline.report.templates import NOTHING, rendered, signed

PASSED, FAILED = "#0f7a5a", "#b4372f"
WIDTH, PICTURE = 740, 370
"""Pixels of the plot without its labels, on the page and as a picture that fits into a column of Dagster's."""


def render_promotion(decided: Mapping[str, Any], title: str, description: str, report: str) -> str:
    """The page, one HTML file that loads nothing; `decided` is the content of `promotion.json`, `report` the address of
    the eval report."""
    chart = forest(decided)
    rounds = decided["rounds"]
    promoted = next((each for each in rounds if each["round"] == decided["promoted"]), None)
    return rendered(
        "promotion.html.jinja",
        title=title,
        description=description,
        report=report,
        decided=decided,
        promoted=promoted,
        passed=[each for each in rounds if each["passed"]],
        failed=[each for each in rounds if not each["passed"]],
        bounds=bound_lines(decided),
        counted=PROMPTS,
        people=PEOPLE,
        last_words=[each["said"] for each in (promoted or {"bounds": []})["bounds"] if each["name"] == PEOPLE],
        preferences=decided.get("preferences", []),
        confidence=confidence(decided["level"]),
        chance=lambda share: f"{share:.2g}",
        forest=None if chart is None else Markup(to_svg(chart)),
        nothing=NOTHING,
        round_name=round_name,
    )


def bound_lines(decided: Mapping[str, Any]) -> dict[str, str]:
    """Name of each bound → its requirement in words."""
    found: dict[str, str] = {}
    for each in decided["rounds"]:
        for bound in each["bounds"]:
            found.setdefault(bound["name"], _needed(bound))
    return found


def _needed(bound: Mapping[str, Any]) -> str:
    if bound["name"] == PEOPLE:
        return "not below 50 %"
    if bound["needed"] is None:
        return "not stopped"
    return f"at least {bound['needed']:.0f}" if bound["name"] == PROMPTS else f"above {signed(bound['needed'])}"


def forest(decided: Mapping[str, Any], width: int = WIDTH) -> alt.FacetChart | None:
    """Each round minus the champion with its interval, one panel per bound, `width` pixels wide; None if no difference
    is known.

    A round passes a bound if its lower end is to the right of the dashed line.
    """
    rows = [
        {
            "bound": bound["name"].replace("_", " "),
            "round": round_name(each["round"]),
            "mean": bound["mean"],
            "lower": bound["found"],
            "upper": bound["upper"],
            "needed": bound["needed"],
            "outcome": "passed" if bound["passed"] else "failed",
        }
        for each in decided["rounds"]
        for bound in each["bounds"]
        if bound["found"] is not None and bound["name"] not in (PROMPTS, PEOPLE)
    ]
    if not rows:
        return None
    colour = alt.Color(
        "outcome:N",
        scale=alt.Scale(domain=["passed", "failed"], range=[PASSED, FAILED]),
        legend=alt.Legend(title=None, orient="top", symbolOpacity=1),
    )
    shape = alt.Shape("outcome:N", scale=alt.Scale(domain=["passed", "failed"], range=["circle", "diamond"]))
    y = alt.Y("round:N", title=None, sort=list(dict.fromkeys(str(row["round"]) for row in rows)))
    title = f"difference from {decided['champion']}"
    x = alt.X("mean:Q", title=title, axis=alt.Axis(tickCount=8), scale=alt.Scale(nice=False, padding=12))
    chart = alt.Chart()
    zero = chart.mark_rule(color=GRID, strokeWidth=1.5).encode(x=alt.datum(0))
    needed = chart.mark_rule(color=INK, strokeDash=[4, 3], opacity=0.7).encode(x="needed:Q")
    interval = chart.mark_rule(strokeWidth=2.5).encode(x="lower:Q", x2="upper:Q", y=y, color=colour)
    point = chart.mark_point(size=90, filled=True, opacity=1).encode(x=x, y=y, color=colour, shape=shape)
    row = alt.Row(
        "bound:N",
        sort=list(dict.fromkeys(str(each["bound"]) for each in rows)),
        title=None,
        header=alt.Header(
            labelAngle=0,
            labelAlign="left",
            labelOrient="top",
            labelAnchor="start",
            labelFontSize=13,
            labelColor=INK,
            labelPadding=3,
        ),
    )
    layers = alt.layer(zero, needed, interval, point, data=alt.InlineData(values=rows))
    config = themed(view=alt.ViewConfig(stroke=GRID), axisY=alt.AxisConfig(grid=False))
    return layers.properties(width=width, height=alt.Step(22)).facet(row=row, spacing=14).properties(config=config)
