"""The JSON Schemas of what commands print with `--json`, from the dataclasses that hold it."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from rft_pipeline.cli.campaign_status import CampaignStatus
from rft_pipeline.lineage.trace_criterion import CriterionTrace
from rft_pipeline.lineage.trace_record import RecordTrace
from rft_pipeline.lineage.trace_rows import PromptTrace, RolloutTrace
from rft_pipeline.upkeep.verify import Verified


@dataclass(frozen=True)
class Status:
    """`rft status --json`."""

    campaigns: list[CampaignStatus]


OUTPUTS: dict[str, Any] = {
    "status": Status,
    "trace": RecordTrace | RolloutTrace | PromptTrace | CriterionTrace,
    "verify": Verified,
}


def output_schema(command: Literal["status", "trace", "verify"]) -> dict[str, Any]:
    """All keys are always there, and there are no others."""
    found = TypeAdapter(OUTPUTS[command]).json_schema(mode="serialization")
    for each in (found, *found.get("$defs", {}).values()):
        if "properties" in each:
            each |= {"additionalProperties": False, "required": list(each["properties"])}
    return found
