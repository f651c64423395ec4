"""`rft report --json` of a campaign with alarms, an audit and generations."""

import json
from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.stages import round_alarms
from rft_pipeline.store import Home
from tests.cli.small import Rft
from tests.pipeline.test_alarms import ANCHORS
from tests.runs import edit, run


def test_report_as_json_holds_alarms_verdicts_and_generations(
    rft: Rft, on_policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ten_nats = pl.lit(10.0).alias("kl")  # of which the alarms warn
    monkeypatch.setattr(round_alarms, "sequence_kl", lambda rows, base: rows.select("rollout_id", ten_nats))
    lines = "".join(json.dumps(anchor) + "\n" for anchor in ANCHORS)
    (on_policy / "anchors.jsonl").write_text(lines, encoding="utf-8")
    settings = {
        "rounds": 1,
        "anchors": "anchors.jsonl",
        "audit": {"probed_anchors": 2, "resamples": 200},
        "alarms": {"resamples": 100, "kl_prompts": 2, "min_distinct2": 0.0, "max_repetition": 1000},
        "reward": {"min_group_share": 0.0},
    }
    for name, value in settings.items():
        edit(on_policy / "campaign.yaml", name, value)
    records = run(on_policy)
    report = json.loads(rft("report", "tiny", "--json").out)

    (verdict,) = json.loads(records["round_1/eval_reports"].path("report.json").read_text())["alarms"]["verdicts"]
    assert report["alarms"]["level"] == verdict["level"] == "warn"
    assert " ".join(report["alarms"]["reasons"]) == verdict["reason"]
    assert [each["round"] for each in report["alarms"]["rounds"]] == [1]

    audited = json.loads(records["judge_audit"].path("judge_audit.json").read_text())
    assert report["audit"] == {each["criterion"]: each["power"] for each in audited}
    assert set(report["audit"]) == {"polite", "relevant"}

    (generations,) = report["generations"]
    assert (generations["round"], generations["generations"], len(generations["reward"])) == (1, 4, 4)
    batch = records["round_1/reward_batches"].metrics
    assert sum(generations["reward"]) / 4 == pytest.approx(batch["reward_mean"])

    said = rft("report", "tiny").out
    assert "alarms, round 1: warn: " in said


def test_an_audit_makes_only_what_it_reads(rft: Rft, on_policy: Path) -> None:
    lines = "".join(json.dumps(anchor) + "\n" for anchor in ANCHORS)
    (on_policy / "anchors.jsonl").write_text(lines, encoding="utf-8")
    edit(on_policy / "campaign.yaml", "anchors", "anchors.jsonl")
    edit(on_policy / "campaign.yaml", "audit", {"probed_anchors": 2, "resamples": 200})
    assert rft("audit", "tiny").code == 0
    store = Home.find().store / "tiny"
    assert {path.name for path in store.iterdir() if path.is_dir()} == {"rubric", "labels", "judge_audit"}
