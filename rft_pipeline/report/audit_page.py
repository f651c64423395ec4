"""The page of a judge audit: each judge's verdict, its calibration, and its largest errors.

Completions and prompts are untrusted text: everything is escaped except the plots, which contain none of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl
from markupsafe import Markup

from rft_pipeline.audit.calibration import reliability
from rft_pipeline.audit.criterion import CriterionAudit
from rft_pipeline.audit.numbers import refit_helps
from rft_pipeline.audit.rows import FIT, WHOLE
from rft_pipeline.report.plots import FIRST, INK, MUTED, to_svg
from rft_pipeline.report.templates import rendered

SIDE = 220
"""Side of a reliability diagram in pixels."""


def render_audit(
    audits: Sequence[CriterionAudit],
    as_plain: Sequence[Mapping[str, Any]],
    title: str,
    description: str,
    people: Mapping[str, Any],
) -> str:
    """The page, one HTML file that loads nothing; `as_plain` are the audits, and `people` what people and users said,
    as plain data."""
    return rendered(
        "audit.html.jinja",
        title=title,
        description=description,
        pairs=people["pairs"],
        feedback=people["feedback"],
        refit_helps={
            each["criterion"]: refit_helps(each, one.criterion.judge)
            for each, one in zip(as_plain, audits, strict=True)
        },
        measured=[*(each["criterion"] for each in as_plain), "reward"],
        audited=[
            (plain, each.criterion, Markup(to_svg(reliability_diagram(each))))
            for plain, each in zip(as_plain, audits, strict=True)
        ],
    )


def reliability_diagram(audit: CriterionAudit) -> alt.LayerChart:
    """Mean label over mean score, by bins of the score; on the diagonal a score is the probability of a good label."""
    rows = audit.judged.filter(pl.col("split") != FIT, probe=WHOLE).drop_nulls("score")
    bins = reliability(rows["score"].to_numpy(), rows["label"].cast(pl.Float64).to_numpy())
    points = pl.DataFrame([each._asdict() for each in bins], schema={"score": float, "good": float, "anchors": int})
    axis = alt.Scale(domain=[0, 1])
    diagonal = alt.Chart(pl.DataFrame({"x": [0.0, 1.0], "y": [0.0, 1.0]})).mark_line(color=MUTED, strokeDash=[3, 3])
    marks = alt.Chart(points).mark_circle(color=f"rgb{FIRST}", stroke=INK, opacity=1)
    return alt.layer(
        diagonal.encode(x=alt.X("x", scale=axis, title="score"), y=alt.Y("y", scale=axis, title="share labelled good")),
        marks.encode(x="score", y="good", size=alt.Size("anchors", legend=None)),
    ).properties(width=SIDE, height=SIDE)
