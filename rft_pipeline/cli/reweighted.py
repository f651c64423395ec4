"""The reward of the same replies in two reports, when the audit's verdict changed between them."""

import json
from collections.abc import Mapping
from typing import Any

from rft_pipeline.audit.stored import kept_weights
from rft_pipeline.cli.words import score
from rft_pipeline.evaluation.compare import in_order
from rft_pipeline.store import Record, RecordStore

AUDIT = "judge_audit"


def reweighted(report: Record, stored: Mapping[str, Any], records: RecordStore) -> str | None:
    """In words: the reward of a policy here and in the newest earlier report in which another part of a judge's weight
    counts, and these parts. None if there is none.

    `stored` is the content of the report's `report.json`.
    """
    prompts = report.payload["inputs"]["prompts"]
    earlier = [
        each
        for each in records.all(report.key.partition("/")[0])
        if each.payload["stage"] == "eval_reports"
        and each.payload["inputs"]["prompts"] == prompts
        and each.created < report.created
    ]
    for before in sorted(earlier, key=lambda each: each.created, reverse=True):
        numbers = json.loads(before.path("report.json").read_text(encoding="utf-8"))
        rewards = {each["policy"]: each["reward"] for each in in_order(numbers)}
        shared = next((each for each in in_order(stored) if each["policy"] in rewards), None)
        if shared is not None and (changed := _changed(records, before, report)):
            then, now = score(rewards[shared["policy"]]), score(shared["reward"])
            return (
                f"the reward of {shared['name']} is {now}, and was {then} by the audit's earlier verdict "
                f"({before.address}): the parts of the weights that count changed, {changed}"
            )
    return None


def _changed(records: RecordStore, before: Record, now: Record) -> str:
    """`polite 30% → 10%`, of the judges that both audits know."""
    audits = [records.at(each.upstream[AUDIT]) if AUDIT in each.upstream else None for each in (before, now)]
    then, since = ({} if each is None else kept_weights(each) for each in audits)
    return ", ".join(
        f"{name} {then[name]:.0%} → {share:.0%}" for name, share in since.items() if then.get(name, share) != share
    )
