"""The facts of a checkpoint's model card, read from records."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rft_pipeline import models
from rft_pipeline.audit.stored import audited_in
from rft_pipeline.campaign import Campaign
from rft_pipeline.report.card import Facts
from rft_pipeline.stages.promotion import decision_of
from rft_pipeline.store import Home, Record, RecordStore

_NOT_SHOWN = ("temperature", "seed", "runtime", "lora")
"""Settings of the stage `checkpoints` that are not listed."""


def card_facts(
    campaign: Campaign, home: Home, checkpoint: Record, report: Record | None, decision: str, *, forced: bool
) -> Facts:
    """`report` is the eval report that evaluated the checkpoint; one of other weights is ignored. Records that are gone
    from the store are left out."""
    if report is not None and not _evaluates(report, checkpoint):
        report = None
    above = _above(RecordStore(home.store), checkpoint, report)
    by_stage: dict[str, list[Record]] = {}
    for record in sorted(above, key=lambda each: (each.created, each.address)):
        by_stage.setdefault(record.payload["stage"], []).append(record)
    trained_on, read = _read(checkpoint, report, above)
    round_ = _round_of(checkpoint)
    numbers = {} if report is None else _json(report, "report.json")
    rounds = {each["round"]: each for each in numbers.get("rounds", [])}
    rubric, audit, judged = read.get("rubric"), read.get("judge_audit"), report or read.get("judge_scores")
    inputs = {} if judged is None else judged.payload["inputs"]
    against, bounds = _compared(RecordStore(home.store).current(f"{campaign.name}/promotion"), report, checkpoint)
    return Facts(
        campaign=campaign.name,
        description=campaign.description,
        round=round_,
        content_hash=checkpoint.content_hash,
        base=_base(by_stage.get("policy", []), campaign),
        prompts=_prompts(trained_on, read.get("prompts")),
        training={
            name: value
            for name, value in checkpoint.payload["settings"].items()
            if name not in _NOT_SHOWN and value is not None
        },
        trained=[_round(each, above) for each in by_stage["checkpoints"]],
        rubric=[] if rubric is None else _rubric(rubric),
        judges={name: value for name, value in inputs.items() if name.split(".")[0] == "judge"},
        audit=[] if audit is None else audited_in(audit),
        people=numbers.get("people", {}),
        before=rounds.get(0),
        after=rounds.get(round_),
        alarm=next((each for each in numbers.get("alarms", {}).get("verdicts", []) if each["round"] == round_), None),
        decision=decision,
        forced=forced,
        against=against,
        bounds=bounds,
        lineage={stage: [record.address for record in records] for stage, records in by_stage.items()},
    )


def _round_of(checkpoint: Record) -> int:
    return int(checkpoint.key.split("/")[1].removeprefix("round_"))


def _evaluates(report: Record, checkpoint: Record) -> bool:
    """Whether an eval report evaluated these weights, perhaps from another record with equal content."""
    evaluated = report.payload["inputs"].get(f"checkpoints_{_round_of(checkpoint)}")
    return bool(evaluated == checkpoint.content_hash)


def _read(checkpoint: Record, report: Record | None, above: list[Record]) -> tuple[Record | None, Mapping[str, Record]]:
    """The record of the prompts that the checkpoint's round sampled; and the upstream records by role: those of the
    report, else those of the batch, else those of the rollouts."""
    by_address = {record.address: record for record in above}
    batch = by_address.get(checkpoint.upstream.get("reward_batches", ""))
    rollouts = None if batch is None else by_address.get(batch.upstream["rollouts"])
    read = {
        role: by_address[address]
        for reader in (rollouts, batch, report)
        if reader is not None
        for role, address in reader.upstream.items()
        if address in by_address
    }
    trained_on = None if rollouts is None else by_address.get(rollouts.upstream["prompts"])
    return trained_on or read.get("prompts"), read


def _compared(promotion: Record | None, report: Record | None, checkpoint: Record) -> tuple[str, list[dict[str, Any]]]:
    """The name of the champion that the current promotion compared these weights with on this report, and the bounds
    of that comparison."""
    if promotion is None or report is None or promotion.upstream["eval_reports"] != report.address:
        return "", []
    decided = decision_of(promotion)
    found = (each for each in decided["rounds"] if each["policy"] == checkpoint.content_hash)
    return decided["champion"], next((each["bounds"] for each in found), [])


def _above(records: RecordStore, checkpoint: Record, report: Record | None) -> list[Record]:
    """The checkpoint with all its upstream records, through earlier champions; and the report with its prompts, rubric
    and audit. Records that are gone are left out."""
    found: dict[str, Record] = {}
    addresses = [checkpoint.address]
    if report is not None:
        found[report.address] = report
        addresses += [report.upstream[role] for role in ("prompts", "rubric", "judge_audit") if role in report.upstream]
    while addresses:
        address = addresses.pop()
        if address not in found and (record := records.at(address)) is not None:
            found[address] = record
            addresses += record.upstream.values()
    return list(found.values())


def _round(checkpoint: Record, above: list[Record]) -> dict[str, Any]:
    by_address = {record.address: record for record in above}
    batch = by_address.get(checkpoint.upstream.get("reward_batches", ""))
    return {
        "round": checkpoint.key.split("/", 1)[1].removesuffix("/checkpoints").removeprefix("round_"),
        "prompts": "" if batch is None else batch.rows["groups"],
        "rollouts": "" if batch is None else batch.rows["rollouts"],
        "excluded": "" if batch is None else batch.rows["excluded"],
        "steps": checkpoint.rows["steps"],
    }


def _base(policies: list[Record], campaign: Campaign) -> Mapping[str, str]:
    """The base model by its public name. With campaigns that start from champions: the first campaign's base."""
    unknown = {"name": campaign.policy.model, "source": "", "content_hash": ""}
    found: dict[str, str] = _json(policies[0], "policy.json") if policies else unknown
    return {**found, "name": _public(found["name"], found["source"])}


def _public(name: str, source: str) -> str:
    """The model's name without local folders, which the card must not show."""
    if name == models.EMBEDDED:
        return models.HUB_ID
    is_local = source.startswith("folder ") or name.startswith((".", "/", "~"))
    return Path(name).name if is_local else name


def _prompts(trained_on: Record | None, held_out: Record | None) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for split, record in {"train": trained_on, "eval": held_out}.items():
        found[split] = "?" if record is None else record.rows[split]
        found[f"{split}_hash"] = "?" if record is None else record.payload["inputs"][split]
    return found


def _rubric(record: Record) -> list[dict[str, Any]]:
    return [
        {
            "name": each["name"],
            "weight": each["weight"],
            "gate": each["gate"],
            "protocol": each["judge"]["protocol"],
            "description": each["description"],
        }
        for each in _json(record, "rubric.json")["criteria"]
    ]


def _json(record: Record, name: str) -> Any:
    return json.loads(record.path(name).read_text(encoding="utf-8"))
