"""The plan as `rft plan` shows it: a line for each stage, with the reasons below it, and the total."""

from collections import Counter
from collections.abc import Sequence
from textwrap import fill

from rich.markup import escape
from rich.text import Text

from rft_pipeline.cli.console import line, out
from rft_pipeline.pipeline.edit_plan import EditPlan
from rft_pipeline.pipeline.plan import Plan, Step, Waits
from rft_pipeline.progress import duration, kind_of
from rft_pipeline.stages.counting import is_record

RECORDS = "records"


def planned_edit(plan: EditPlan) -> None:
    """What a run after an edit does, in one line; then its two parts."""
    line(escape(plan.summary))
    line("\n[bold]first: reports of what stands[/]")
    planned(plan.reports)
    line("\n[bold]then: the edit cycle[/]")
    planned(plan.cycle)


def planned(plan: Plan) -> None:
    """For each stage: run or skip, its rows, an estimate, and below it the reasons; then the total."""
    heads: tuple[str, ...] = ("stage", "action", "make", "have", "time")
    rows = [_planned_row(step) for step in plan.steps]
    if not any(step.action == "run" and step.seconds is not None for step in plan.steps):
        heads, rows = heads[:-1], [row[:-1] for row in rows]  # the total says that nothing was timed
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    out.print(Text(_in_columns(heads, widths), style="bold"), soft_wrap=True)
    for step, row in zip(plan.steps, rows, strict=True):
        style = "yellow" if step.action == "run" else "green"
        shown = Text(_in_columns(row, widths))
        shown.stylize(style, widths[0] + 2, widths[0] + 2 + len(step.action))
        out.print(shown, soft_wrap=True)
        if said := [*_inputs_as_one(step), *step.made_up_of]:
            why = fill("; ".join(said), out.width, initial_indent="    ", subsequent_indent="    ")
            out.print(Text(why, style="dim"), soft_wrap=True)
    if any(step.action == "run" for step in plan.steps):
        line(_total(plan))


def _planned_row(step: Step) -> tuple[str, ...]:
    runs = step.action == "run"
    made, seconds = (_work_in_words(step), duration(step.seconds)) if runs else ("0", "")
    return step.key.partition("/")[2], step.action, made, f"{step.rows.have:,}", seconds


def _in_columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _inputs_as_one(step: Step) -> list[str]:
    """The reasons, with the earlier stages that run as one; `--json` names each."""
    waits = {Waits(name).in_words() for name in step.waits_for}
    others = [reason for reason in step.reasons if reason not in waits]
    return ["earlier stages run", *others] if len(waits) > 1 else step.reasons


def _work_in_words(step: Step) -> str:
    """`256 rollouts`, `256 to 320 rollouts`, `1 record`; `unknown` while the inputs that decide it are not there."""
    if not step.work:
        return "0" if step.rows.have else "unknown"
    least: Counter[str] = Counter()
    most: Counter[str] = Counter()
    _add_work(step, least, most)
    return ", ".join(_counted(least[kind], count, kind) for kind, count in most.items())


def _counted(least: int, most: int, kind: str) -> str:
    shown = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    return f"{shown} {kind if most != 1 else kind.removesuffix('s')}"


def _total(plan: Plan) -> str:
    """The time of the whole run, or of the part that was timed before; then its cost."""
    if plan.seconds is not None:
        cost = f", {plan.cost:.2f} {plan.currency}" if plan.cost else ""
        return f"about {duration(plan.seconds)}{cost}, at the rates measured last"
    timed = [step.seconds for step in plan.steps if step.action == "run" and step.seconds is not None]
    if not timed:
        return f"in all: {_in_all(plan)}\ntime: unknown until the first run, which measures this machine"
    return f"at least {duration(sum(timed))}, at the rates measured last; a stage with ? was never timed"


def _in_all(plan: Plan) -> str:
    """`640 rollouts, 4,520 to 4,808 judgements, 16 steps`: what all stages together would make, without records."""
    least: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for step in plan.steps:
        if step.action == "run":
            _add_work(step, least, most)
    return ", ".join(_counted(least[kind], count, kind) for kind, count in most.items() if kind != RECORDS)


def _add_work(step: Step, least: Counter[str], most: Counter[str]) -> None:
    """Add what a stage would make, by kind, to the least and the most."""
    stage = step.key.rpartition("/")[2]
    for what in {**step.work, **step.ranges}:
        kind = RECORDS if is_record(what, stage) else kind_of(what)
        count = step.work.get(what, 0)
        low, high = step.ranges.get(what, (count, count))
        least[kind] += low
        most[kind] += high
