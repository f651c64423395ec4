"""A campaign with a rubric in every prompt: through all stages, plan, upkeep, trace, report and audit."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from rft_pipeline.campaign import load_campaign
from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.trace_rows import RolloutTrace
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.store import Home, Record
from tests.judges.engines import Told
from tests.pipeline.audited import AUDIT, verdicts
from tests.report.narrow import wrong_labels
from tests.runs import edit, made, run
from tests.upkeep.small import collected, counts, verified

ITEMS = "judgements of case.items"
JUDGED = ["prompts", "rubric", "policy", "round_1/rollouts", "round_1/judge_scores"]
CRITERIA: list[dict[str, Any]] = [
    {"name": "case", "judge": {"protocol": "checklist"}},
    {"name": "has_an_e", "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": "e"}}},
]


def rubric_of(number: int) -> list[dict[str, Any]]:
    """Three items for even prompts, two for odd ones."""
    items = [
        {"criterion": f"Names order {number}.", "points": 5, "tags": ["content"]},
        {"criterion": "Is rude.", "points": -3, "tags": ["tone"]},
        {"criterion": "Says thank you.", "points": 2, "tags": ["tone"]},
    ]
    return items[: 3 - number % 2]


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def write_rows(file: Path, content: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")


@pytest.fixture
def checklists(tiny_campaign: Path) -> Path:
    (tiny_campaign / "rubric.yaml").write_text(yaml.safe_dump({"criteria": CRITERIA}), encoding="utf-8")
    edit(tiny_campaign / "campaign.yaml", "rounds", 1)
    edit(tiny_campaign / "campaign.yaml", "reward", {"min_group_share": 0.0})
    for file in (tiny_campaign / "prompts").iterdir():
        write_rows(file, [{**row, "rubric": rubric_of(number)} for number, row in enumerate(rows(file))])
    return tiny_campaign


def planned(folder: Path, name: str) -> dict[str, int]:
    steps = plan(load_campaign(folder), Home.find()).steps
    return next(step.work for step in steps if step.key == f"tiny/{name}")


def table(record: Record) -> pl.DataFrame:
    return pl.read_parquet(record.path(f"{record.payload['stage']}.parquet"))


def items_in(replies: pl.DataFrame) -> int:
    return sum(len(json.loads(fields)["rubric"]) for fields in replies["fields"])


def test_a_campaign_of_checklists_runs_and_is_found_again_by_plan_upkeep_trace_and_report(checklists: Path) -> None:
    expected = {name: planned(checklists, name)[ITEMS] for name in ("round_1/judge_scores", "round_1/eval_reports")}
    records = run(checklists)
    held_out = table(records["round_1/eval_reports"])
    assert expected["round_1/judge_scores"] == items_in(table(records["round_1/rollouts"]))
    assert expected["round_1/eval_reports"] == items_in(held_out) == 2 * (3 + 2) * 3

    assert made(run(checklists)) == []
    home = Home.find()
    assert {step.rows.make for step in plan(load_campaign(checklists), home).steps} == {0}
    assert verified().findings == []
    assert sum(counts(collected(yes=False)).values()) == 0

    for rollout_id in (held_out["rollout_id"][0], table(records["round_1/rollouts"])["rollout_id"][0]):
        found = trace(home, rollout_id)
        assert isinstance(found, RolloutTrace)
        case, has_an_e = found.rollout.judgements
        assert (case.criterion, has_an_e.items) == ("case", ())
        assert len({item.judgement_id for item in case.items}) == len(case.items) >= 2
        earned = sum(item.points * (item.score or 0.0) for item in case.items)
        possible = sum(item.points for item in case.items if item.points > 0)
        assert case.score == pytest.approx(min(1.0, max(0.0, earned / possible)))

    report = records["round_1/eval_reports"]
    themes = json.loads(report.path("report.json").read_text(encoding="utf-8"))["themes"]["case"]
    assert [(row["tag"], row["avoid"], row["items"]) for row in themes] == [
        ("content", False, 6),
        ("tone", False, 3),
        ("tone", True, 6),
    ]
    assert all(0 <= row["met"][name]["mean"] <= 1 for row in themes for name in ("base", "round 1"))
    page = report.path("report.html").read_text(encoding="utf-8")
    assert "Items of case by theme" in page
    assert wrong_labels(page) == []


def test_an_edited_item_and_a_longer_rubric_judge_only_what_is_new(checklists: Path) -> None:
    replies = table(run(checklists, JUDGED)["round_1/rollouts"])
    edited, longer = replies["prompt_id"].unique(maintain_order=True)[:2]
    texts = {prompt: set(replies.filter(prompt_id=prompt)["completion"]) for prompt in (edited, longer)}
    content = rows(checklists / "prompts" / "train.jsonl")
    asked = {row["prompt"]: row for row in content}
    of = {
        prompt: asked[json.loads(replies.filter(prompt_id=prompt)["messages"][0])[0]["content"]]["rubric"]
        for prompt in (edited, longer)
    }
    of[edited][0]["criterion"] = "Names the order."
    of[longer].append({"criterion": "Asks a question.", "points": 1})
    write_rows(checklists / "prompts" / "train.jsonl", content)

    new = len(texts[edited]) + len(texts[longer])
    assert planned(checklists, "round_1/rollouts") == {}
    assert planned(checklists, "round_1/judge_scores")[ITEMS] == new
    records = run(checklists, JUDGED)
    assert records["round_1/rollouts"].rows["made"] == 0
    assert records["round_1/judge_scores"].rows["made_case.items"] == new


def test_the_audit_measures_a_checklist_against_labelled_items(
    checklists: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(text: str) -> str:
        reply = re.findall(r"replied:\n`+\n(.*?)\n`+\n", text, re.DOTALL)[0]
        return "Yes" if ("Is rude." in text) == reply.startswith("Whatever") else "No"

    monkeypatch.setattr(JudgeEngines, "asker", lambda self, by: Told(judge))
    anchors = [
        {
            "id": f"a{prompt}{word}",
            "prompt": f"Where is parcel {prompt}?",
            "completion": f"{word}, number {prompt}.",
            "rubric": rubric_of(2 * prompt),
            "labels": {"case": [int(word == "Gladly"), int(word == "Whatever"), None]},
        }
        for prompt in range(12)
        for word in ("Gladly", "Whatever")
    ]
    write_rows(checklists / "anchors.jsonl", anchors)
    edit(checklists / "campaign.yaml", "anchors", "anchors.jsonl")
    edit(checklists / "campaign.yaml", "audit", {"probed_anchors": 4, "resamples": 100})
    expected = planned(checklists, "judge_audit")[ITEMS]
    record = run(checklists, AUDIT)["judge_audit"]
    assert record.rows["anchors"] == 2 * len(anchors)  # one an item that is labelled
    assert expected == record.rows["made"]
    found = verdicts(record)["case"]
    assert "on 24 good and 24 bad replies to 12 prompts" in found["reason"]
    assert found["reason"].startswith("J 1.00")
    assert "retest" not in found["not_measured"]
    assert verified().findings == []
