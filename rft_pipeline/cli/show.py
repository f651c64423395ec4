"""Tables on the terminal."""

import json
from typing import Any

from rich.markup import escape
from rich.table import Table

from rft_pipeline.campaign import Campaign
from rft_pipeline.check import CheckResult
from rft_pipeline.cli.console import err, out
from rft_pipeline.cli.words import change, plain, score
from rft_pipeline.errors import StoreError
from rft_pipeline.models import Model
from rft_pipeline.pipeline.log_checks import CheckedLogs
from rft_pipeline.pipeline.outcomes import outcome
from rft_pipeline.pipeline.plan import Plan
from rft_pipeline.stages.promotion import decision_of
from rft_pipeline.store import Home, Record, RecordStore

LONGEST_REASON = 1000


def checked(result: CheckResult, logs: CheckedLogs | None) -> None:
    """What a campaign consists of, what its next cycle would draw, and what may be wrong with them."""
    out.print(
        f"{result.campaign.name}: {result.train_prompts} train and {result.eval_prompts} eval prompts, "
        f"{result.anchors} anchors, {result.campaign.rounds} rounds",
        highlight=False,
    )
    table = Table("criterion", "decided by", "weight", "gate", "anchors good/bad", box=None, header_style="bold")
    for each in result.criteria:
        labels = result.labels.get(each.name)
        gate = "" if each.gate is None else f"≥ {each.gate}"
        table.add_row(
            each.name, each.kind, f"{each.weight:.2f}", gate, f"{labels.good}/{labels.bad}" if labels else "–"
        )
    out.print(table)
    if logs is not None:
        out.print(f"logs: {escape(logs.summary)}", highlight=False, soft_wrap=True)
    for warning in (*result.warnings, *(() if logs is None else logs.warnings)):
        err.print(f"[yellow]warning[/] {escape(warning)}", highlight=False)
    out.print("[green]ok[/]")


def planned(plan: Plan) -> None:
    """One row a stage: run or skip, rows, an estimate, reasons; and what all of it takes."""
    table = Table("stage", "action", "make", "have", "about", "why", box=None, header_style="bold")
    for step in plan.steps:
        runs = step.action == "run"
        action = "[yellow]run[/]" if runs else "[green]skip[/]"
        about = _duration(step.seconds) if runs else ""
        why = escape("; ".join(step.reasons))
        table.add_row(step.key, action, str(step.rows.make), str(step.rows.have), about, why)
    out.print(table)
    if any(step.action == "run" for step in plan.steps):
        cost = f", {plan.cost:.2f} {plan.currency}" if plan.cost else ""
        out.print(f"about {_duration(plan.seconds)}{cost}, at the rates measured last", highlight=False)


def _duration(seconds: float | None) -> str:
    """`4 s`, `3 min 20 s`, `2 h 5 min`; `?` when nobody knows."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def model(found: Model) -> None:
    out.print(f"{found.name}: {found.folder}", highlight=False, soft_wrap=True)
    out.print(f"  from {found.source}, content {found.content_hash}", highlight=False)


def rounds(home: Home, campaign: Campaign) -> None:
    """The table of rounds, and the change of the held-out reward."""
    summary = report_summary(home, campaign)
    found = summary["rounds"]
    heads = ["base" if each["round"] == 0 else f"round {each['round']}" for each in found]
    table = Table("held-out prompts", *heads, box=None, header_style="bold")
    table.add_row("[bold]reward[/]", *(f"[bold]{score(each['reward'])}[/]" for each in found))
    table.add_row("  95 % interval", *(f"{score(each['lower95'])} … {score(each['upper95'])}" for each in found))
    for name in found[0]["criteria"]:
        table.add_row(name, *(score(each["criteria"][name]) for each in found))
    out.print(table)
    delta = summary["delta"]
    out.print(
        f"held-out reward, last round minus base: [bold]{change(delta['mean'])}[/] "
        f"({change(delta['lower95'])} … {change(delta['upper95'])})",
        highlight=False,
    )
    for each in summary["alarms"]:
        out.print(
            f"alarms, round {each['round']}: {each['level']}: {escape(plain(each['reason'], LONGEST_REASON))}",
            highlight=False,
            soft_wrap=True,
        )
    if promotion := summary["promotion"]:
        out.print(f"promotion: {escape(promotion['said'])}", highlight=False, soft_wrap=True)
        if promotion["stays"]:
            out.print(escape(promotion["stays"]), highlight=False, soft_wrap=True)
        if promotion["page"]:
            out.print(f"promotion page: {promotion['page']}", highlight=False, soft_wrap=True)
    out.print(f"report: {summary['report']}", highlight=False, soft_wrap=True)


def _promotion(home: Home, campaign: Campaign, report: Record) -> dict[str, Any] | None:
    """What was decided on a report, if anything was."""
    record = RecordStore(home.store).current(f"{campaign.name}/promotion")
    if record is None or record.upstream["eval_reports"] != report.address:
        return None
    decided, became = decision_of(record), outcome(home, record)
    page = record.folder / "promotion.html"
    found = {name: decided[name] for name in ("promoted", "champion", "said")}
    return found | {
        "stays": became.stays,
        "page": str(page) if page.is_file() else None,
    }


def report_summary(home: Home, campaign: Campaign) -> dict[str, Any]:
    """Rounds, the last round's change against base, what the alarms said, the page, and what was decided on it (null
    when nothing was).

    Raises `StoreError` when nothing was evaluated.
    """
    record = _last_report(home, campaign)
    stored = json.loads(record.path("report.json").read_text(encoding="utf-8"))
    keep = ("round", "reward", "lower95", "upper95")
    found = [
        {key: each[key] for key in keep} | {"criteria": {name: c["mean"] for name, c in each["criteria"].items()}}
        for each in stored["rounds"]
    ]
    verdicts = stored.get("alarms", {"verdicts": []})["verdicts"]
    return {
        "rounds": found,
        "delta": stored["delta"],
        "alarms": [
            {key: each[key] for key in ("round", "level", "causes", "reason", "started_from")} for each in verdicts
        ],
        "promotion": _promotion(home, campaign, record),
        "report": str(record.path("report.html")),
    }


def _last_report(home: Home, campaign: Campaign) -> Record:
    records = RecordStore(home.store)
    for round_ in range(campaign.rounds, 0, -1):
        record = records.current(f"{campaign.name}/round_{round_}/eval_reports")
        if record is not None:
            return record
    raise StoreError(f"campaign {campaign.name} has no eval report yet; run `rft run {campaign.name}`")
