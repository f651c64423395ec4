"""Weights and gates in reasons: as they are in rubric.yaml.

In payloads, weights are shares of 1, which all change when one weight is edited.
"""

from collections.abc import Sequence

from rft_pipeline.campaign import Campaign
from rft_pipeline.pipeline.plan.reasons import Change, changes, is_of_rewards
from rft_pipeline.store import Record, RecordStore


def as_written(
    changed: Sequence[Change], current: Record, campaign: Campaign, records: RecordStore
) -> tuple[Change, ...]:
    """The changes since a record, with those of shares and gates replaced by those of the rubric's weights and gates.

    They stay as they are when the record names no rubric.
    """
    others = [change for change in changed if not is_of_rewards(change)]
    rubric = records.at(current.upstream["rubric"]) if "rubric" in current.upstream else None
    if len(others) == len(changed) or rubric is None:
        return tuple(changed)
    criteria = rubric.payload["settings"]["criteria"]
    before = {each["name"]: {"weight": each["weight"], "gate": each["gate"]} for each in criteria}
    now = {each.name: {"weight": each.weight, "gate": each.gate} for each in campaign.rubric.criteria}
    return (*others, *changes(before, now, ("settings", "criteria")))
