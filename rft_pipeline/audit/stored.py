"""What an audit's record holds of each criterion."""

import json
from typing import Any

from rft_pipeline.store import Record

AUDIT_FILE = "judge_audit.json"


def audited_in(record: Record) -> list[dict[str, Any]]:
    """The entries of an audit, one a criterion, as `as_plain` made them."""
    found: list[dict[str, Any]] = json.loads(record.path(AUDIT_FILE).read_text(encoding="utf-8"))
    return found


def kept_weights(record: Record) -> dict[str, float]:
    """The part of its weight that an audit lets each judge keep, from 0 to 1, by criterion."""
    return {each["criterion"]: each["weight"] for each in audited_in(record)}
