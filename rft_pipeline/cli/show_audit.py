"""What `rft audit` prints."""

import json
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
    table = Table(box=None, header_style="bold")
    for column in ("criterion", "judge", "verdict"):
        table.add_column(column)
    for column in ("kept", "good/bad", "Youden J", "AUC"):
        table.add_column(column, justify="right")
    for each in found:
        table.add_row(
            each["criterion"],
            each["protocol"],
            f"[{COLOURS[each['power']]}]{each['power']}[/]",
            f"{each['weight']:.2f}",
            f"{each['good']}/{each['bad']}",
            *(_interval(each[name]) for name in ("youden_j", "auc")),
        )
    out.print(table)
    for each in found:
        out.print(f"[bold]{each['criterion']}[/]: {escape(each['reason'])}", highlight=False)
    err.print(f"page: {record.path('judge_audit.html')}", highlight=False, soft_wrap=True)


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
