"""The page of an eval report: one HTML file that loads nothing.

Completions and prompts are untrusted text: everything is escaped except the plots, which contain none of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from markupsafe import Markup

from rft_pipeline.evaluation.compare import in_order, round_name
from rft_pipeline.report.alarm_plots import CAPTIONS as ALARM_CAPTIONS
from rft_pipeline.report.alarm_plots import NOTES as ALARM_NOTES
from rft_pipeline.report.alarm_plots import alarm_charts
from rft_pipeline.report.learning import TITLES, learning_curves
from rft_pipeline.report.plots import charts, to_svg
from rft_pipeline.report.templates import NOTHING, rendered
from rft_pipeline.report.timeline import last_alarm, patterns, timeline

CAPTIONS = {
    "reward": "Held-out reward by round",
    "criteria": "Each criterion by round",
    "rewards": "Distribution of rewards",
    "lengths": "Distribution of reply lengths",
}


def render_page(
    report: Mapping[str, Any],
    rows_by_round: Mapping[int, pl.DataFrame],
    title: str,
    description: str,
    generations: Sequence[Mapping[str, Any]] = (),
    kept: Mapping[str, float] | None = None,
) -> str:
    """The page. `report` is what `compare_rounds` returns, `rows_by_round` the rows it was made from, `generations` the
    numbers of the newest round's generations, if it was made in generations, `kept` the part of its weight with which
    the audit lets each judge train, if there is an audit."""
    plots = charts(report, rows_by_round)
    alarms = report.get("alarms")
    drawn = {} if alarms is None else alarm_charts(alarms)
    base_rows = rows_by_round[min(rows_by_round)]
    return rendered(
        "page.html.jinja",
        title=title,
        description=description,
        report=report,
        policies=in_order(report),
        base=report["rounds"][0],
        last=report["rounds"][-1],
        verdict=verdict(report["delta"]),
        lines=criteria_lines(report),
        plots=[(name, caption, Markup(to_svg(plots[name]))) for name, caption in CAPTIONS.items()],
        curves=[
            (name, TITLES.get(name.removeprefix("learning_"), "reward and criteria"), Markup(to_svg(chart)))
            for name, chart in learning_curves(generations, only_moving=True).items()
        ],
        generations=len(generations),
        kept=kept,
        alarms=alarms,
        alarm_plots=[
            (name, ALARM_CAPTIONS[name], ALARM_NOTES[name], Markup(to_svg(chart))) for name, chart in drawn.items()
        ],
        alarm=None if alarms is None else last_alarm(alarms["verdicts"]),
        patterns=[] if alarms is None else patterns(alarms["verdicts"]),
        timeline=[] if alarms is None else timeline(alarms["verdicts"]),
        prompts=base_rows["prompt_id"].n_unique(),
        replies=base_rows.height,
        round_name=round_name,
        nothing=NOTHING,
        verdict_of=verdict,
        changed=report["delta"] is not None,
        gated=lambda scores: fails_gate(scores, report["gates"]),
    )


def verdict(delta: Mapping[str, float | None] | None) -> str:
    """`up` or `down` if the whole interval is on that side of 0, else `unclear`; `none` without a change."""
    if delta is None or delta["mean"] is None:
        return "none"
    lower, upper = delta["lower95"], delta["upper95"]
    if lower is None or upper is None or lower <= 0 <= upper:
        return "unclear"
    return "up" if lower > 0 else "down"


def criteria_lines(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A line for the reward and one per criterion, with the change of the last round on a common axis."""
    base, last = report["rounds"][0], report["rounds"][-1]
    changes = last["criteria_delta"] or {}
    lines = [
        {
            "name": name,
            "judged": name in report["judged"],
            "gate": report["gates"].get(name),
            "base": base["criteria"][name],
            "last": last["criteria"][name],
            "delta": changes.get(name),
        }
        for name in base["criteria"]
    ]
    axis = max((abs(bound) for line in [*lines, last] for bound in _bounds(line["delta"])), default=0.0) or 1.0
    overall = {"name": None, "base": _reward(base), "last": _reward(last), "delta": last["delta"]}
    return [
        {**line, "verdict": verdict(line["delta"]), "place": _place(line["delta"], axis)} for line in [overall, *lines]
    ]


def fails_gate(scores: Mapping[str, float | None], gates: Mapping[str, float]) -> bool:
    """Whether a reply scores below any gate's threshold; an unscored one does not."""
    return any(score is not None and name in gates and score < gates[name] for name, score in scores.items())


def _reward(row: Mapping[str, Any]) -> dict[str, float | None]:
    return {"mean": row["reward"], "lower95": row["lower95"], "upper95": row["upper95"]}


def _bounds(delta: Mapping[str, float | None] | None) -> list[float]:
    return [value for value in (delta or {}).values() if value is not None]


def _place(delta: Mapping[str, float | None] | None, axis: float) -> dict[str, float] | None:
    """Position of mean and interval on an axis from −`axis` to `axis`, in percent of its width."""
    if delta is None or delta["mean"] is None:
        return None
    mean, lower, upper = (
        round(50 + 46 * (delta["mean"] if value is None else value) / axis, 2)
        for value in (delta["mean"], delta["lower95"], delta["upper95"])
    )
    return {"mean": mean, "left": lower, "width": round(upper - lower, 2)}
