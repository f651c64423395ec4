"""The asset check of a round's alarms."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.checks import rounds_gain_is_real
from assets.eval_reports import BINDING
from assets.stage import stage_asset
from rft_pipeline.campaign import load_campaign
from rft_pipeline.stages.graph import node
from rft_pipeline.store import Record
from tests.runs import edit


def report(folder: Path, level: str, causes: list[str], start: int) -> Record:
    told = {"level": level, "causes": causes, "reason": "A phrase pays."}
    verdict: dict[str, Any] = {**told, "moved_by": "policy", "findings": []}
    alarms = {"verdicts": [{"level": "ok"}, verdict], "start_round": start}
    (folder / "report.json").write_text(json.dumps({"alarms": alarms}), encoding="utf-8")
    return Record("tiny/round_2/eval_reports", "f", {}, "c", folder=folder)


@pytest.mark.parametrize(
    ("level", "start", "passed", "severity", "told"),
    [
        ("ok", 2, True, dg.AssetCheckSeverity.WARN, "round 2"),
        ("warn", 2, False, dg.AssetCheckSeverity.WARN, "round 2"),
        ("stop", 0, False, dg.AssetCheckSeverity.ERROR, "base"),
    ],
)
def test_a_warning_warns_and_a_stop_is_an_error_with_its_reason(
    tmp_path: Path,
    tiny_campaign: Path,
    level: str,
    start: int,
    passed: bool,
    severity: dg.AssetCheckSeverity,
    told: str,
) -> None:
    found = rounds_gain_is_real(report(tmp_path, level, ["phrase"], start), load_campaign(tiny_campaign))
    assert (found.passed, found.severity) == (passed, severity)
    assert (found.description == "A phrase pays.") is not passed
    assert found.metadata["reason"].value == "A phrase pays."
    assert found.metadata["the next round starts from"].value == told


def test_only_a_campaign_with_alarms_has_the_check_and_it_blocks_nothing(tiny_campaign: Path) -> None:
    def checks() -> dict[str, bool]:
        campaign = load_campaign(tiny_campaign)
        asset = stage_asset(campaign, [node(campaign, "round_1/eval_reports")], {"eval_reports": BINDING})
        return {spec.name: spec.blocking for spec in asset.check_specs}

    assert checks() == {"truncation_share": False}
    edit(tiny_campaign / "campaign.yaml", "alarms", {})
    assert checks() == {"truncation_share": False, "alarms": False}
