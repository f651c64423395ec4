"""How reliable each judge is, and how much of its weight it keeps."""

import json
from typing import Any

import dagster as dg
import polars as pl

from rft_pipeline.audit.stored import audited_in
from rft_pipeline.report.markdown import plain
from rft_pipeline.store import Record

from .checks import judges_earn_their_weight
from .stage import AssetCheck, Binding
from .tables import bar, lines, markdown, shown


def _metadata(record: Record) -> dict[str, Any]:
    """The reasons are paragraphs of their own: Dagster wraps these, and a long cell would widen the whole table."""
    audited = audited_in(record)
    table = pl.DataFrame(
        [
            {
                "criterion": each["criterion"],
                "verdict": each["power"],
                "by anchors": each["from_people"]["before"]["power"] if each["from_people"] else each["power"],
                "kept": each["weight"],
                "J": each["youden_j"]["mean"],
                "AUC": each["auc"]["mean"],
            }
            for each in audited
        ]
    )
    people = json.loads(record.path("people.json").read_text(encoding="utf-8"))
    why = "\n\n".join(f"**{plain(each['criterion'])}**: {plain(each['reason'])}" for each in audited)
    said = _said(people, [each["criterion"] for each in audited])
    return {"verdicts": markdown(table), "why": dg.MetadataValue.md(why), **said}


def _said(people: dict[str, Any], criteria: list[str]) -> dict[str, Any]:
    """The agreement of judges and reward with people's pairs and with users' feedback."""
    found = {}
    for kind, name, number in (
        ("pairs", "agreement_with_pairs", "share"),
        ("feedback", "agreement_with_users", "agreement"),
    ):
        said = people[kind]
        if said is not None:
            rows = [(each, *said["agreement"][each][number].values()) for each in (*criteria, "reward")]
            rows += [(week["week"], *week["agreement"].values()) for week in said.get("weeks", ())]
            found[name] = markdown(pl.DataFrame(rows, schema=["", "agreement", "from", "to"], orient="row"))
    return found


def _summary(record: Record) -> str:
    audited = audited_in(record)
    trains = sum(each["power"] != "monitor" for each in audited)
    rows = [
        (each["criterion"], each["power"], f"{bar(each['youden_j']['mean'])} {shown(each['youden_j']['mean'])}")
        for each in audited
    ]
    said = f"**{trains} of {len(audited)} judges may train.** Measured on {record.rows['anchors']} labelled anchors."
    people = json.loads(record.path("people.json").read_text(encoding="utf-8"))
    if people["pairs"] is not None:
        share, pairs = (
            people["pairs"]["agreement"]["reward"]["share"]["mean"],
            people["pairs"]["agreement"]["reward"]["pairs"],
        )
        said += f" The reward agrees with people on {shown(share)} of {pairs} decided pairs (0.5: a coin)."
        said += f" **Warning:** {people['pairs']['warning']}." if people["pairs"]["warning"] else ""
    return f"{said}\n\n{lines(rows, ('criterion', 'verdict', 'Youden J (0: a coin, 1: perfect)'))}"


BINDING = Binding(
    stage="judge_audit",
    kind="scikitlearn",
    summary=_summary,
    metadata=_metadata,
    checks=(
        AssetCheck(
            "judges_earn_their_weight",
            "Every judge separates good from bad replies well enough to train.",
            judges_earn_their_weight,
            blocking=lambda campaign: campaign.audit is not None and campaign.audit.blocking,
        ),
    ),
)
