"""When a cycle counts as finished: once a promotion was decided on its own prompts."""

import json
from pathlib import Path
from typing import Any

from rft_pipeline.campaign.cycles import load_current, newest
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home
from tests.prompts.test_cycle import begun, log, set_up
from tests.runs import edit


def materialize(*names: str) -> dict[str, Any] | None:
    """Run stages of the campaign in force, all when none is named; the newest cycle's outcome, if it has one."""
    home = Home.find()
    campaign = load_current(home, "tiny")
    for name in names or [node.name for node in nodes(campaign)]:
        Pipeline(home).run(campaign, name)
    cycle = newest(home, "tiny")
    assert cycle is not None
    path = cycle.folder / "outcome.json"
    outcome: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return outcome


def test_a_decision_on_other_prompts_finishes_no_cycle(finished_copy: Path) -> None:
    set_up(finished_copy)
    log(finished_copy, "monday")
    begun(finished_copy)
    assert materialize("promotion") is None
    assert materialize("prompts", "promotion") is None
    assert materialize("prompts", "policy", "round_1/rollouts", "promotion") is None


def test_a_decision_on_its_own_prompts_finishes_a_cycle(finished_copy: Path) -> None:
    set_up(finished_copy)
    edit(finished_copy / "campaign.yaml", "rounds", 1)
    log(finished_copy, "monday")
    begun(finished_copy)
    outcome = materialize()
    assert outcome is not None
    assert outcome["promotion"].startswith("tiny/promotion/")
