"""The audit's page: what each judge has earned, how its scores keep their promise, and where it is most wrong.

Completions and prompts are untrusted text: everything but the plots, which hold none of it, is escaped.
"""

from collections.abc import Sequence

import altair as alt
import polars as pl
from markupsafe import Markup

from rft_pipeline.audit import reliability
from rft_pipeline.audit.criterion import CriterionAudit
from rft_pipeline.audit.numbers import as_plain
from rft_pipeline.audit.rows import FIT, WHOLE
from rft_pipeline.report.page import environment
from rft_pipeline.report.plots import FIRST, INK, MUTED, to_svg

SIDE = 220
"""Pixels of a reliability diagram's side."""


def render_audit(audited: Sequence[CriterionAudit], title: str, description: str) -> str:
    """The whole page, one HTML file that loads nothing from anywhere."""
    return (
        environment()
        .get_template("audit.html.jinja")
        .render(
            title=title,
            description=description,
            audited=[(as_plain(each), each.criterion, Markup(to_svg(diagram(each)))) for each in audited],
        )
    )


def diagram(audited: CriterionAudit) -> alt.LayerChart:
    """Mean label against mean score of replies with neighbouring scores; on the diagonal a score is a probability."""
    whole = audited.judged.filter(pl.col("split") != FIT, probe=WHOLE).drop_nulls("score")
    bins = reliability(whole["score"].to_numpy(), whole["label"].cast(pl.Float64).to_numpy())
    points = pl.DataFrame([each._asdict() for each in bins], schema={"score": float, "good": float, "anchors": int})
    axis = alt.Scale(domain=[0, 1])
    diagonal = alt.Chart(pl.DataFrame({"x": [0.0, 1.0], "y": [0.0, 1.0]})).mark_line(color=MUTED, strokeDash=[3, 3])
    marks = alt.Chart(points).mark_circle(color=f"rgb{FIRST}", stroke=INK, opacity=1)
    return alt.layer(
        diagonal.encode(x=alt.X("x", scale=axis, title="score"), y=alt.Y("y", scale=axis, title="share labelled good")),
        marks.encode(x="score", y="good", size=alt.Size("anchors", legend=None)),
    ).properties(width=SIDE, height=SIDE)
