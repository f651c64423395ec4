"""What `rft check`, `rft plan`, `rft run` and `rft report` print."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import typer
from rich.markup import escape

from rft_pipeline.audit.stored import audited_in
from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.continuation import BASE
from rft_pipeline.check import CheckResult
from rft_pipeline.check.result import Disagreement
from rft_pipeline.cli.console import line, out, table, warn
from rft_pipeline.cli.reweighted import reweighted
from rft_pipeline.cli.show_audit import kept
from rft_pipeline.cli.words import change, gate, plain, preference_line, score
from rft_pipeline.errors import Exit, StoreError
from rft_pipeline.evaluation.compare import in_order
from rft_pipeline.labels.policies import newest_report
from rft_pipeline.labels.preferences import current_preferences
from rft_pipeline.pipeline.log_checks import CheckedLogs
from rft_pipeline.pipeline.outcomes import outcome
from rft_pipeline.progress import counted
from rft_pipeline.promotion.decide import STOP
from rft_pipeline.prompts.rows import SHOWN
from rft_pipeline.report.published import PROMOTION, REPORT, page
from rft_pipeline.stages.base import WARM_START_CALLED
from rft_pipeline.stages.promotion import decision_of
from rft_pipeline.stages.round_made import REFILLED, generations_of, refilled_in
from rft_pipeline.store import Home, Record, RecordStore

LONGEST_REASON = 1000
NOT_IN_A_CYCLE = (BASE, WARM_START_CALLED)
"""What the promotion of a cycle without a champion compares with; the cycle's report does not have it."""


def checked(result: CheckResult, logs: CheckedLogs | None) -> None:
    """The campaign's prompts and criteria, what its next retraining cycle would draw, and warnings."""
    line(
        f"{result.campaign.name}: {counted(result.train_prompts, 'train prompt')}, "
        f"{counted(result.eval_prompts, 'eval prompt')}, {counted(result.anchors, 'anchor')}, "
        f"{counted(result.campaign.rounds, 'round')}"
    )
    for split, found in result.formats.items():
        line(f"{split}: {escape(found)}")
    criteria = table("criterion", "scored by", "weight", "gate", "anchors good/bad")
    rubric = result.campaign.rubric
    for each in rubric.criteria:
        labels = result.labels.get(each.name)
        anchors = f"{labels.good}/{labels.bad}" if labels else "–"
        criteria.add_row(each.name, each.judge.kind, f"{rubric.weights()[each.name]:.2f}", gate(each.gate), anchors)
    for each in result.campaign.held_out:
        criteria.add_row(each.name, each.judge.kind, "watches only", "", "not audited" if each.judged else "–")
    out.print(criteria)
    for name, otherwise in result.otherwise.items():
        line(escape(_otherwise(name, otherwise)))
    if result.unfitted:
        line(
            f"no `squash` yet: {', '.join(result.unfitted)}; scores may all be alike until you set what "
            f"`rft audit {result.campaign.name} --suggest` fits to your labels"
        )
    if logs is not None:
        line(f"logs: {escape(logs.summary)}")
    warnings = (*result.warnings, *(() if logs is None else logs.warnings))
    for warning in warnings:
        warn(warning)
    line(f"[green]ok[/], {counted(len(warnings), 'warning')}" if warnings else "[green]ok[/]")


def _otherwise(name: str, found: Disagreement) -> str:
    """`no_refund: the rule and the label differ on 1 of 30 anchors: a23 (label 0, score 1)`."""
    each = [f"{anchor} (label {label}, score {score:g})" for anchor, (label, score) in found.anchors.items()]
    more = f" and {len(each) - SHOWN} more" if len(each) > SHOWN else ""
    of = f"{len(each)} of {counted(found.labelled, 'labelled anchor')}"
    return f"{name}: the rule and the label differ on {of}: {', '.join(each[:SHOWN])}{more}"


def plain_checked(name: str, result: CheckResult, logs: CheckedLogs | None) -> dict[str, Any]:
    """What `checked` says, for JSON."""
    rubric = result.campaign.rubric
    weights = rubric.weights()
    criteria = [
        {
            "name": each.name,
            "scored_by": each.judge.kind,
            "weight": weights[each.name],
            "gate": each.gate,
            "anchors": asdict(labels) if (labels := result.labels.get(each.name)) else None,
            "labelled_otherwise": sorted(otherwise.anchors) if (otherwise := result.otherwise.get(each.name)) else [],
        }
        for each in rubric.criteria
    ]
    return {
        "campaign": name,
        "errors": [],
        "warnings": [*result.warnings, *(() if logs is None else logs.warnings)],
        "rounds": result.campaign.rounds,
        "train_prompts": result.train_prompts,
        "eval_prompts": result.eval_prompts,
        "anchors": result.anchors,
        "formats": result.formats,
        "criteria": criteria,
        "without_squash": list(result.unfitted),
        "alarms": [{"name": each.name, "scored_by": each.judge.kind} for each in result.campaign.held_out],
        "logs": None if logs is None else logs.summary,
    }


def rounds(home: Home, campaign: Campaign) -> dict[str, Any]:
    """The rounds, the change of the held-out reward, alarms, preferences, the promotion, and the paths of the pages;
    returns the `report_summary`."""
    summary = report_summary(home, campaign)
    found = summary["rounds"]
    heads = [each["name"] for each in found]
    rewards = table("held-out prompts", *heads)
    rewards.add_row("[bold]reward[/]", *(f"[bold]{score(each['reward'])}[/]" for each in found))
    rewards.add_row("  95 % interval", *(f"{score(each['lower95'])} … {score(each['upper95'])}" for each in found))
    for name in found[0]["criteria"]:
        rewards.add_row(name, *(score(each["criteria"][name]) for each in found))
    out.print(rewards)
    delta = summary["delta"]
    promotion = summary["promotion"]
    if summary["start"]:
        line(escape(_start(summary["start"], promotion)))
    line(
        f"held-out reward, last round minus {summary['baseline']}: [bold]{change(delta['mean'])}[/] "
        f"({change(delta['lower95'])} … {change(delta['upper95'])})"
    )
    kept(campaign.name, summary["kept"] or {})
    if summary["reweighted"]:
        line(escape(summary["reweighted"]))
    for each in summary["alarms"]["rounds"] if summary["alarms"] else ():
        line(f"alarms, round {each['round']}: {each['level']}: {escape(plain(each['reason'], LONGEST_REASON))}")
    for each in summary["generations"] or ():
        if each.get(REFILLED):
            line(f"round {each['round']}: {each[REFILLED]} further prompts, in place of groups without variance")
    for each in summary["preferences"]:
        line(escape(preference_line(each["said"], each["p"])))
    if promotion:
        line(f"promotion: {escape(_decision(promotion))}")
        if promotion["stays"]:
            line(escape(promotion["stays"]))
        line(f"promotion page: {promotion['page']}")
    line(f"report: {summary['report']}")
    return summary


def _start(address: str, promotion: Mapping[str, Any] | None) -> str:
    """What the cycle trained from, and what the promotion compares with if that is another policy."""
    said = f"start: the weights that this cycle trained from, {address}"
    if promotion is None or promotion["champion"] not in NOT_IN_A_CYCLE:
        return said
    return f"{said}; they are no champion, so the promotion compares with {promotion['champion']}"


def _decision(promotion: Mapping[str, Any]) -> str:
    """A refusal with its reasons; of a promotion, which passed every bound, not its own interval of the reward: that of
    the report is shown above, and two that differ slightly confuse."""
    if promotion["promoted"] is None:
        return str(promotion["said"])
    return f"round {promotion['promoted']} is promoted over {promotion['champion']}: it passes every bound"


def exit_if_stopped(summary: dict[str, Any]) -> None:
    """End with `Exit.REFUSED` if the alarms stopped the last round of a `report_summary`."""
    alarms = summary["alarms"]
    if alarms is not None and alarms["level"] == STOP:
        raise typer.Exit(Exit.REFUSED)


def _promotion(home: Home, campaign: Campaign, report: Record) -> dict[str, Any] | None:
    """What the promotion decided about a report, or None when it has not been decided."""
    record = RecordStore(home.store).current(f"{campaign.name}/promotion")
    if record is None or record.upstream["eval_reports"] != report.address:
        return None
    decided, became = decision_of(record), outcome(home, record)
    found = {name: decided[name] for name in ("promoted", "champion", "said")}
    return found | {"stays": became.stays, "page": str(page(home, campaign.name, PROMOTION))}


def report_summary(home: Home, campaign: Campaign) -> dict[str, Any]:
    """The report as plain values: rounds, the last round's change from base, alarms, the audit's verdicts, generations,
    its promotion and its page. What the campaign does not have is null.

    Raises `StoreError` when nothing was evaluated.
    """
    record, records = _last_report(home, campaign), RecordStore(home.store)
    stored = json.loads(record.path("report.json").read_text(encoding="utf-8"))
    audit = _audit(record, records)
    keep = ("round", "name", "reward", "lower95", "upper95")
    found = [
        {key: each[key] for key in keep} | {"criteria": {name: c["mean"] for name, c in each["criteria"].items()}}
        for each in in_order(stored)
    ]
    return {
        "rounds": found,
        "baseline": stored["rounds"][0]["name"],
        "start": stored.get("start"),
        "reweighted": reweighted(record, stored, records),
        "delta": stored["delta"],
        "alarms": _alarms(stored["alarms"]["verdicts"]) if "alarms" in stored else None,
        "audit": None if audit is None else {name: each["power"] for name, each in audit.items()},
        "kept": None if audit is None else {name: each["weight"] for name, each in audit.items()},
        "generations": _generations(record, records),
        "preferences": [each.plain for each in current_preferences(campaign, home).found],
        "promotion": _promotion(home, campaign, record),
        "report": str(page(home, campaign.name, REPORT)),
    }


def _alarms(verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    """The newest round's level and the sentences of the alarms that fired in it; and each round's alarms."""
    keep = ("round", "level", "causes", "reason", "started_from")
    newest = verdicts[-1]
    return {
        "level": newest["level"],
        "reasons": [each["sentence"] for each in newest["findings"] if each["level"] != "ok"],
        "rounds": [{key: each[key] for key in keep} for each in verdicts],
    }


def _audit(report: Record, records: RecordStore) -> dict[str, dict[str, Any]] | None:
    """Criterion → what the audit says that the report's weights come from."""
    audit = records.at(report.upstream["judge_audit"]) if "judge_audit" in report.upstream else None
    return None if audit is None else {each["criterion"]: each for each in audited_in(audit)}


def _generations(report: Record, records: RecordStore) -> list[dict[str, Any]] | None:
    """For each round that was made in generations: how many, the mean reward of each, and the further prompts in place
    of groups without variance, where there may be any."""
    found = []
    for round_ in range(1, 1 + sum(role.startswith("checkpoints_") for role in report.upstream)):
        checkpoint = records.at(report.upstream[f"checkpoints_{round_}"])
        lines = [] if checkpoint is None else generations_of(checkpoint)
        if lines:
            rewards = [each.get("reward") for each in lines]
            found.append({"round": round_, "generations": len(lines), "reward": rewards, **refilled_in(lines)})
    return found or None


def _last_report(home: Home, campaign: Campaign) -> Record:
    record = newest_report(campaign, RecordStore(home.store))
    if record is None:
        raise StoreError(f"campaign {campaign.name} has no eval report yet; run `rft run {campaign.name}`")
    return record
