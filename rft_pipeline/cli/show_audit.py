"""What `rft audit` prints."""

import json
from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from rft_pipeline.cli.console import err, out
from rft_pipeline.errors import ConfigError, StoreError
from rft_pipeline.store import Home, RecordStore

COLOURS = {"trains": "green", "noise": "yellow", "monitor": "red", "unaudited": "dim"}


def audited(home: Home, campaign: str, *, as_json: bool) -> None:
    """A line a criterion, then the reason of each verdict."""
    record = RecordStore(home.store).current(f"{campaign}/judge_audit")
    if record is None:
        raise StoreError(f"{campaign}/judge_audit: nothing there; run `rft audit {campaign}`")
    found: list[dict[str, Any]] = json.loads(record.path("judge_audit.json").read_text(encoding="utf-8"))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    out.print(_verdicts(found))
    if any(each["from_people"] for each in found):
        out.print(_before_and_after(found))
    for each in found:
        out.print(f"[bold]{each['criterion']}[/]: {escape(each['reason'])}", highlight=False)
        for line in _further(each):
            out.print(f"  {escape(line)}", highlight=False)
    err.print(f"page: {record.path('judge_audit.html')}", highlight=False, soft_wrap=True)


def _verdicts(found: list[dict[str, Any]]) -> Table:
    table = _table(("criterion", "judge", "verdict"), ("kept", "good/bad", "Youden J", "AUC"))
    for each in found:
        table.add_row(each["criterion"], each["protocol"], *_weighed(each))
    return table


def _before_and_after(found: list[dict[str, Any]]) -> Table:
    """Each verdict by the anchors alone, and with the rollouts that people labelled."""
    table = _table(("", "labels", "verdict"), ("kept", "good/bad", "Youden J", "AUC"))
    for each in found:
        if people := each["from_people"]:
            table.add_row(f"[bold]{each['criterion']}[/]", "anchors", *_weighed(people["before"]))
            table.add_row("", f"and {people['measured']} rollouts", *_weighed(each))
    return table


def _table(left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in left:
        table.add_column(column)
    for column in right:
        table.add_column(column, justify="right")
    return table


def _weighed(each: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"[{COLOURS[each['power']]}]{each['power']}[/]",
        f"{each['weight']:.2f}",
        f"{each['good']}/{each['bad']}",
        *(_interval(each[name]) for name in ("youden_j", "auc")),
    )


def _further(each: dict[str, Any]) -> Iterator[str]:
    """What else was measured, a line each."""
    if people := each["from_people"]:
        line = f"with people on {people['measured']} rollouts: κ {_interval(people['rollouts']['cohen_kappa'])}"
        if among := people["people"]:
            kappa = "–" if among["cohen_kappa"] is None else f"{among['cohen_kappa']:.2f}"
            line += f"; people among themselves: κ {kappa}, Krippendorff α {_interval(among['krippendorff_alpha'])}"
        yield line
    if each["calibration_error"]:
        error = each["calibration_error"]
        yield f"calibration error {error['before']:.2f} → {error['after']:.2f} ({error['measured_on']})"
    if squash := each["squash"]:
        yield f"refitted, for rubric.yaml: squash: {{offset: {squash['offset']:.3f}, scale: {squash['scale']:.3f}}}"
    if noise := each.get("noise"):
        yield f"noise within a group: {noise['words']}"
    elif why := each["not_measured"].get("noise"):
        yield f"noise within a group: not measured, so it damps nothing: {why}"
    if each["retest"]:
        yield f"test–retest: {each['retest']['words']}"
    if each["order"]:
        order = each["order"]
        first = f"the first shown wins {_interval(order['first'])} above one half"
        yield f"order, of {order['pairs']} pairs: {_interval(order['flips'])} flip; {first}"


def refuse_without_anchors(campaign: str, anchors: str | None) -> None:
    if anchors is None:
        raise ConfigError(
            f"campaign {campaign} has no anchors, so nothing tells how far its judges can be trusted; label some "
            "replies and name their file as `anchors` in campaign.yaml"
        )


def _interval(found: dict[str, float | None]) -> str:
    if found["mean"] is None:
        return "–"
    bounds = "" if found["lower95"] is None else f" ({found['lower95']:.2f}–{found['upper95']:.2f})"
    return f"{found['mean']:.2f}{bounds}"
