"""Which round becomes the champion."""

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from rft_pipeline.pipeline.outcomes import outcome
from rft_pipeline.promotion.decide import although
from rft_pipeline.report.markdown import plain
from rft_pipeline.report.timeline import last_alarm
from rft_pipeline.store import Home, Record, RecordStore

from .checks import a_round_is_promoted
from .stage import AssetCheck, Binding
from .tables import markdown


def _metadata(record: Record) -> dict[str, Any]:
    decided = json.loads(record.path("promotion.json").read_text(encoding="utf-8"))
    table = pl.DataFrame(
        [
            {
                "round": each["round"],
                "bound": bound["name"],
                "found": bound["found"],
                "needed": bound["needed"],
                "passed": "yes" if bound["passed"] else "no",
            }
            for each in decided["rounds"]
            for bound in each["bounds"]
        ],
        infer_schema_length=None,
    )
    return {
        "compared with": decided["champion"],
        "bounds": markdown(table),
    }


def _summary(record: Record) -> str:
    found = outcome(Home.find(), record)
    campaign = record.key.partition("/")[0]
    todo = (
        f"`rft export {campaign} DIR` writes it for deployment."
        if found.promoted is not None
        else f"`rft promote {campaign} --round N --force --why …` overrides it."
    )
    decided = json.loads(record.path("promotion.json").read_text(encoding="utf-8"))
    chosen, causes = decided["promoted"], _causes(record)
    alarm = next((each["alarm"] for each in decided["rounds"] if each["round"] == chosen), None)
    subject = "No round" if chosen is None else f"Round {chosen}"
    head = f"{subject} is promoted over {decided['champion']}{although(alarm)}"
    paragraphs = [f"**{plain(head)}**", todo, *([plain(found.stays)] if found.stays else [])]
    for each in decided["rounds"]:
        said = [bound["said"] for bound in each["bounds"] if each["round"] == chosen or not bound["passed"]]
        said += [f"alarm: {cause}" for cause in causes.get(each["round"], ())]
        paragraphs += [plain(f"Round {each['round']}: {text}") for text in said]
    return "\n\n".join(paragraphs)  # Dagster does not wrap long lines


def _causes(record: Record) -> dict[int, Sequence[str]]:
    """The titles of the alarms that fired, by round, in the eval report that was decided on."""
    report = RecordStore(Home.find().store).at(record.upstream["eval_reports"])
    if report is None:
        return {}
    alarms = json.loads(report.path("report.json").read_text(encoding="utf-8")).get("alarms", {})
    fired = {each["round"]: last_alarm([each]) for each in alarms.get("verdicts", [])}
    return {round_: alarm.causes for round_, alarm in fired.items() if alarm is not None}


BINDING = Binding(
    stage="promotion",
    kind="mlflow",
    summary=_summary,
    metadata=_metadata,
    checks=(AssetCheck("promoted", "A round passed every bound and is the champion.", a_round_is_promoted),),
)
