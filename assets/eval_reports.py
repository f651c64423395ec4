"""Base and every round so far on held-out prompts."""

import json
from typing import Any

from rft_pipeline.report.timeline import last_alarm
from rft_pipeline.store import Record

from .checks import replies_finish, rounds_gain_is_real
from .stage import AssetCheck, Binding
from .tables import bar, interval, lines, shown


def _summary(record: Record) -> str:
    report = json.loads(record.path("report.json").read_text(encoding="utf-8"))
    rounds, change = report["rounds"], report["delta"]
    policies = [each for each in (report.get("other"), *rounds) if each]
    rows = [(each["name"], f"{bar(each['reward'])} {shown(each['reward'])}") for each in policies]
    said = (
        f"**Held-out reward of {rounds[-1]['name']}: {shown(rounds[-1]['reward'])}**\n\n"
        f"{interval(change)} compared with {rounds[0]['name']}, on {record.rows['prompts']} prompts"
    )
    return f"{said}\n\n{lines(rows, ('policy', 'reward'))}\n\n{alarms_in_a_sentence(report)}"


def alarms_in_a_sentence(report: dict[str, Any]) -> str:
    """What the alarms of an eval report say of its newest round."""
    if "alarms" not in report:
        return "Alarms: not watched (no `alarms` block in campaign.yaml)"
    alarm = last_alarm(report["alarms"]["verdicts"])
    if alarm is None:
        return "Alarms: ok"
    return f"Alarms: **{alarm.level}** ({', '.join(alarm.causes)}); read the replies on the page"


BINDING = Binding(
    stage="eval_reports",
    kind="altair",
    summary=_summary,
    checks=(
        AssetCheck("truncation_share", "Few enough replies are cut off by the token budget.", replies_finish),
        AssetCheck(
            "alarms",
            "No alarm fired in this round.",
            rounds_gain_is_real,
            applies=lambda campaign: campaign.alarms is not None,
        ),
    ),
)
