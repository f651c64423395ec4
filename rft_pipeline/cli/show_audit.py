"""What `rft audit` prints."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from rich.markup import escape
from rich.table import Table

from rft_pipeline.audit.numbers import refit_helps
from rft_pipeline.audit.stored import audited_in, kept_weights
from rft_pipeline.audit.verdict import BIASED_WEIGHT, Power
from rft_pipeline.campaign import Audit, Campaign
from rft_pipeline.campaign.audit import Bias
from rft_pipeline.cli.console import line, note, out, print_json, table, warn
from rft_pipeline.errors import ConfigError, StoreError
from rft_pipeline.judges.settings import JudgeSettings
from rft_pipeline.report.published import AUDIT, page
from rft_pipeline.store import Home, Record, RecordStore

NUMBERS = ("kept", "good/bad", "Youden J", "AUC")
COLOURS = {"trains": "green", "noise": "yellow", "monitor": "red", "unaudited": "dim"}


def audited(home: Home, campaign: Campaign, *, as_json: bool) -> None:
    """A table of verdicts, then for each criterion a short list: why, what else was measured, what to do."""
    record, found = _audit_of(home, campaign.name)
    people: dict[str, Any] = json.loads(record.path("people.json").read_text(encoding="utf-8"))
    if as_json:
        print_json({"criteria": [{"noise": None, **each} for each in found], **people})
        return
    out.print(_verdicts(found))
    if any(each["from_people"] for each in found):
        out.print(_before_and_after(found))
    note(_NUMBERS_EXPLAINED)
    judges = {each.name: each.judge for each in campaign.rubric.criteria}
    for each in found:
        line(f"[bold]{each['criterion']}[/]: {_EFFECTS[Power(each['power'])].format(each['weight'])}")
        for text in (*each["reason"].split("; "), *_measurements(each, judges.get(each["criterion"]))):
            line(f"  - {escape(text)}")
        if advice := _advice(campaign, each):
            line(f"  [bold]to do[/]: {escape(advice)}")
    _unaudited(campaign)
    _said(people)
    note(f"page: {page(home, campaign.name, AUDIT)}")


def suggested(home: Home, campaign: Campaign, *, as_json: bool) -> None:
    """The `squash` of each criterion with a likelihood protocol, as rubric.yaml has it and as the labels fit it."""
    _, found = _audit_of(home, campaign.name)
    now = {each.name: each.judge.squash for each in campaign.rubric.criteria if hasattr(each.judge, "squash")}
    fitted = {each["criterion"]: each["squash"] for each in found if each["criterion"] in now}
    judges = {each.name: each.judge for each in campaign.rubric.criteria}
    if as_json:
        print_json({"squash": fitted})
        return
    for each in found:
        if (name := each["criterion"]) in now:
            line(f"[bold]{name}[/]: now {_squash(now[name].model_dump())}")
            line(f"  fitted: {_squash(each['squash'])}" if each["squash"] else f"  {_NOT_FITTED}")
            if each["squash"] and not refit_helps(each, judges[name]):
                line(f"  {_LEAVE_IT.format(**each['calibration_error'])}")
            elif each["squash"] and each["power"] == Power.UNAUDITED:
                line(f"  do not rely on it yet: {escape(each['reason'])}")
    if not fitted:
        line("no criterion has a likelihood protocol, so there is no squash to fit")


def kept(campaign: str, weights: Mapping[str, float], audit: str = "audit") -> None:
    """The judges of which the audit lets a part of their weight count, or nothing, if there are any."""
    reduced = ", ".join(f"{name} {share:.0%}" for name, share in weights.items() if 0 < share < 1)
    left_out = ", ".join(name for name, share in weights.items() if not share)
    said = [f"a part of the weight of {reduced}"] if reduced else []
    said += [f"nothing of {left_out}"] if left_out else []
    if said:
        why = f"`rft audit {campaign}` says why"
        line(f"{audit}: in training and in the reward count {' and '.join(said)}; {why}")


def kept_so_far(home: Home, campaign: Campaign) -> None:
    """The same for the newest audit of a campaign that has an audit."""
    record = None if campaign.audit is None else RecordStore(home.store).current(f"{campaign.name}/judge_audit")
    if record is not None:
        kept(campaign.name, kept_weights(record), "newest audit, before what this plan makes")


_NUMBERS_EXPLAINED = (
    "kept: share of its weight with which a criterion trains. J: share of good replies that pass minus share of bad "
    "ones that pass, at the threshold that is best on other prompts; 1 is perfect, 0 is chance. AUC: how often a good "
    "reply scores above a bad one. In brackets, and after each number below: the 95 % interval"
)
_EFFECTS = {
    Power.TRAINS: "trains with its whole weight",
    Power.NOISE: "noise, trains with {:.0%} of its weight",
    Power.MONITOR: "monitor, is shown and trains nothing",
    Power.UNAUDITED: "unaudited, too few labels; trains with {:.0%} of its weight",
}
_LEAVE_IT = (
    "leave the present one: scores would be no nearer to the share of good labels (distance now {before:.2f}, "
    "refitted {after:.2f})"
)
_NOT_FITTED = "not fitted: it needs good and bad labels, and scores that are higher for the good"


def _squash(found: Mapping[str, float]) -> str:
    return f"squash: {{offset: {found['offset']:.3f}, scale: {found['scale']:.3f}}}"


def _audit_of(home: Home, campaign: str) -> tuple[Record, list[dict[str, Any]]]:
    """The newest audit, and its criteria."""
    record = RecordStore(home.store).current(f"{campaign}/judge_audit")
    if record is None:
        raise StoreError(f"{campaign}/judge_audit: no record; run `rft audit {campaign}`")
    return record, audited_in(record)


def _verdicts(found: list[dict[str, Any]]) -> Table:
    verdicts = table("criterion", "judge", "verdict", numbers=NUMBERS)
    for each in found:
        verdicts.add_row(each["criterion"], each["protocol"], *_cells(each))
    return verdicts


def _before_and_after(found: list[dict[str, Any]]) -> Table:
    """Each verdict from the anchors alone, and from the anchors and the rollouts that people labelled."""
    verdicts = table("", "labels", "verdict", numbers=NUMBERS)
    for each in found:
        if people := each["from_people"]:
            verdicts.add_row(f"[bold]{each['criterion']}[/]", "anchors", *_cells(people["before"]))
            verdicts.add_row("", f"and {people['measured']} rollouts", *_cells(each))
    return verdicts


def _said(people: dict[str, Any]) -> None:
    """How often judges and reward agree with people's pairs and with users' feedback."""
    pairs, feedback = people["pairs"], people["feedback"]
    if pairs is not None:
        agree = table("", numbers=(f"agrees with people on {pairs['decided']} decided pairs", "pairs"))
        for name, each in pairs["agreement"].items():
            agree.add_row(f"[bold]{name}[/]", _interval(each["share"]), str(each["pairs"]))
        out.print(agree)
        if pairs["warning"]:
            warn(pairs["warning"])
    if feedback is not None:
        ranks = table("", numbers=("ranks liked replies above disliked", "liked/disliked"))
        for name, each in feedback["agreement"].items():
            ranks.add_row(f"[bold]{name}[/]", _interval(each["agreement"]), f"{each['liked']}/{each['disliked']}")
        for week in feedback["weeks"]:
            ranks.add_row(week["week"], _interval(week["agreement"]), f"{week['liked']}/{week['disliked']}")
        out.print(ranks)


def _cells(each: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"[{COLOURS[each['power']]}]{each['power']}[/]",
        f"{each['weight']:.2f}",
        f"{each['good']}/{each['bad']}",
        *(_interval(each[name]) for name in ("youden_j", "auc")),
    )


def _advice(campaign: Campaign, each: dict[str, Any]) -> str:
    """What to do about a verdict; empty where there is nothing to do."""
    name = each["criterion"]
    suggest = f"try other wordings (rft rubric suggest {campaign.name} --criterion {name})"
    if {"chance", "weak"} & set(each["faults"]):
        may_be_good = (each["youden_j"]["upper95"] or 0.0) >= (campaign.audit or Audit()).noise_power
        wording = (
            f"label more replies, {suggest} or another protocol" if may_be_good else f"{suggest} or another protocol"
        )
    elif each["power"] == Power.NOISE and each["weight"] != BIASED_WEIGHT:  # J took a part of it
        wording = f"label more replies, or {suggest}"
    elif each["power"] == Power.UNAUDITED:
        wording = "label more replies"
    else:
        wording = ""
    biases = ", ".join(fault for fault in each["faults"] if fault in get_args(Bias))
    accept = f"guard against {biases} with a rule, then accept it: audit: {{accept: {{{name}: [{biases}]}}}}"
    return "; ".join([*([wording] if wording else []), *([accept] if biases else [])])


def _unaudited(campaign: Campaign) -> None:
    """What decides or watches without an audit."""
    if rules := [each.name for each in campaign.rubric.criteria if not each.judged]:
        note(f"rules are not audited: {', '.join(rules)}; `rft check {campaign.name}` compares them with the labels")
    if watching := [each.name for each in campaign.held_out if each.judged]:
        note(
            f"judges of the alarms are not audited: {', '.join(watching)}; they can stop a promotion: "
            "docs/trusting-the-judge.md"
        )


def _measurements(each: dict[str, Any], judge: JudgeSettings | None) -> Iterator[str]:
    """What else was measured, one line each."""
    if people := each["from_people"]:
        kappa = _interval(people["rollouts"]["cohen_kappa"])
        text = f"agreement with people on {people['measured']} rollouts, beyond chance: κ {kappa}"
        if among := people["people"]:
            kappa = "–" if among["cohen_kappa"] is None else f"{among['cohen_kappa']:.2f}"
            text += f"; between people: κ {kappa}, Krippendorff α {_interval(among['krippendorff_alpha'])}"
        yield text
    if error := each["calibration_error"]:
        distance = f"distance of scores from the share of good labels: {error['before']:.2f}"
        yield f"{distance}, after a refit {error['after']:.2f} (measured on {error['measured_on']})"
    if each["squash"] and judge is not None and refit_helps(each, judge):
        yield f"refitted, for rubric.yaml: {_squash(each['squash'])}; this asks no judge again"
    if noise := each.get("noise"):
        yield f"noise within a group: {noise['words']}"
    elif why := each["not_measured"].get("noise"):
        yield f"noise within a group: not measured, so it reduces no weight: {why}"
    if each["retest"]:
        yield f"asked twice: {each['retest']['words']}"
    if each["order"]:
        order = each["order"]
        first = f"the reply shown first wins {_interval(order['first'])} more often than half"
        yield f"order: {_interval(order['flips'])} of {order['pairs']} pairs flip when swapped; {first}"


def require_anchors(campaign: str, anchors: str | None) -> None:
    """Raise `ConfigError` for a campaign without anchors."""
    if anchors is None:
        raise ConfigError(
            f"campaign {campaign} has no anchors, so its judges cannot be audited; label some replies and name their "
            "file as `anchors` in campaign.yaml"
        )


def _interval(found: dict[str, float | None]) -> str:
    if found["mean"] is None:
        return "–"
    bounds = "" if found["lower95"] is None else f" ({found['lower95']:.2f}–{found['upper95']:.2f})"
    return f"{found['mean']:.2f}{bounds}"
