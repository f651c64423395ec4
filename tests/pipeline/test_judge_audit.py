"""The audit as a stage: judges the anchors, writes its page, and takes weight from the reward."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from rft_pipeline import plan as planning
from rft_pipeline.campaign import load_campaign
from rft_pipeline.engines.judging import JudgeEngines
from rft_pipeline.errors import GateError
from rft_pipeline.graph import nodes
from rft_pipeline.store import Home, Record
from tests.assets.test_automation import launched, look
from tests.judges.engines import Told
from tests.runs import edit, made, run
from tests.upkeep.small import collected, counts, verified

AUDIT = ["rubric", "judge_audit"]
RUBRIC: list[dict[str, Any]] = [
    {"name": "kind", "judge": {"protocol": "binary", "question": "Is it kind?"}},
    {"name": "loved", "judge": {"protocol": "binary", "question": "Is it loved?"}},
    {"name": "has_an_e", "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": "e"}}},
]


def honest(text: str) -> str:
    """Says what the label says of kindness, and is as good as a coin about love; obeys nobody."""
    reply = re.findall(r"replied:\n`+\n(.*?)\n`+\n", text, re.DOTALL)[0]
    if "loved" in text:
        return "Yes" if sum(map(ord, reply)) % 2 else "No"
    return "Yes" if reply.startswith("Gladly") else "No"


@pytest.fixture
def audited(tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tiny_campaign / "rubric.yaml").write_text(yaml.safe_dump({"criteria": RUBRIC}), encoding="utf-8")
    edit(tiny_campaign / "campaign.yaml", "anchors", "anchors.jsonl")
    edit(tiny_campaign / "campaign.yaml", "audit", {"probed_anchors": 6, "resamples": 200})
    edit(tiny_campaign / "campaign.yaml", "rounds", 1)
    anchors = [
        {
            "prompt_id": f"p{prompt}",
            "prompt": f"Where is parcel {prompt}?",
            "completion": f"{word}, number {prompt}.",
            "labels": {"kind": kind, "loved": (prompt // 3 + kind) % 2},
        }
        for prompt in range(24)
        for kind, word in ((1, "Gladly"), (0, "Whatever"))
    ]
    lines = "".join(json.dumps({"id": f"a{i}", **anchor}) + "\n" for i, anchor in enumerate(anchors))
    (tiny_campaign / "anchors.jsonl").write_text(lines, encoding="utf-8")
    told = Told(honest)
    monkeypatch.setattr(JudgeEngines, "asker", lambda self, by: told)
    return tiny_campaign


def verdicts(record: Record) -> dict[str, dict[str, Any]]:
    found = json.loads(record.path("judge_audit.json").read_text(encoding="utf-8"))
    return {each["criterion"]: each for each in found}


def test_a_judge_that_agrees_trains_and_a_coin_only_watches(audited: Path) -> None:
    record = run(audited, AUDIT)["judge_audit"]
    found = verdicts(record)
    assert (found["kind"]["power"], found["kind"]["weight"]) == ("trains", 1.0)
    assert found["kind"]["youden_j"]["mean"] == 1.0
    assert (found["loved"]["power"], found["loved"]["weight"]) == ("monitor", 0.0)
    assert found["loved"]["faults"] == ["chance"]
    assert record.rows["refused"] == 1
    page = record.path("judge_audit.html").read_text(encoding="utf-8")
    assert "chance: tells good from bad no better than chance" in page


def test_what_a_judge_has_not_earned_is_taken_from_the_reward(audited: Path) -> None:
    records = run(audited)
    batch = pl.read_parquet(records["round_1/reward_batches"].path("reward_batches.parquet"))
    scores = batch["scores"].struct.unnest()
    expected = (scores["kind"] + scores["has_an_e"]) / 2
    assert batch["reward"].to_list() == pytest.approx(expected.to_list())
    assert scores["loved"].null_count() == 0
    assert made(run(audited)) == []
    assert verified().findings == []
    assert sum(counts(collected(yes=False)).values()) == 0
    assert {node.name for node in nodes(load_campaign(audited)) if "judge_audit" in node.upstream} == {
        "round_1/reward_batches",
        "round_1/eval_reports",
    }


def test_labels_that_change_no_verdict_make_nothing_downstream_again(audited: Path) -> None:
    run(audited)
    path = audited / "anchors.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[1:], lines[0]]) + "\n", encoding="utf-8")
    assert made(run(audited)) == ["judge_audit"]


def relabelled(folder: Path) -> None:
    path = folder / "anchors.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"loved": 1', '"loved": 0', 1), encoding="utf-8")


def test_a_changed_label_begins_where_a_changed_rubric_would(audited: Path) -> None:
    edit(audited / "campaign.yaml", "rounds", 2)
    run(audited)
    relabelled(audited)
    campaign = load_campaign(audited)
    planned = planning.plan(campaign, Home.find())
    assert planned.first_round == 2
    (step,) = (step for step in planned.steps if step.key == "tiny/judge_audit")
    assert step.reasons == ["input anchors changed"]


def test_the_sensor_notices_a_changed_label_once(audited: Path) -> None:
    run(audited)
    before = look(None)
    assert before.skip_message == "rubric, prompts, labels, anchors are as they were"
    relabelled(audited)
    tick = look(before.cursor)
    assert [reason for reason, _ in launched(tick)] == ["anchors changed"]
    assert launched(look(tick.cursor)) == []


def test_nothing_trains_when_no_judge_has_earned_it(audited: Path) -> None:
    only = [each for each in RUBRIC if each["name"] == "loved"]
    (audited / "rubric.yaml").write_text(yaml.safe_dump({"criteria": only}), encoding="utf-8")
    text = (audited / "anchors.jsonl").read_text(encoding="utf-8")
    (audited / "anchors.jsonl").write_text(re.sub(r'"kind": [01], ', "", text), encoding="utf-8")
    with pytest.raises(GateError, match="no criterion has earned the right to train"):
        run(audited)
