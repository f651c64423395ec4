"""A judge behind a server that becomes another one mid-campaign, under the same name."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from rft_pipeline.engines.judging import JudgeEngines
from tests.judges.engines import Told
from tests.pipeline.test_alarms import alarms_of
from tests.runs import edit, run

RUBRIC: list[dict[str, Any]] = [
    {"name": "kind", "judge": {"protocol": "binary", "question": "Is it kind?"}},
    {"name": "has_an_e", "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": "e"}}},
]


class Judge:
    """Says what the label says, until it is swapped: then the contrary."""

    swapped = False

    def __call__(self, text: str) -> str:
        reply = re.findall(r"replied:\n`+\n(.*?)\n`+\n", text, re.DOTALL)[0]
        return "Yes" if reply.startswith("Gladly") != self.swapped else "No"


def test_a_served_judge_that_becomes_another_is_told_by_its_anchors(
    tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge()
    monkeypatch.setattr(JudgeEngines, "asker", lambda self, by: Told(judge))
    (tiny_campaign / "rubric.yaml").write_text(yaml.safe_dump({"criteria": RUBRIC}), encoding="utf-8")
    served = {"model": "served:judge", "server": {"url": "http://127.0.0.1:1/v1"}}
    for key, value in {"judge": served, "anchors": "anchors.jsonl", "alarms": {"resamples": 100}}.items():
        edit(tiny_campaign / "campaign.yaml", key, value)
    anchors = [
        {
            "id": f"{word} {i}",
            "prompt": f"Where is parcel {i}?",
            "completion": f"{word}, {i}.",
            "labels": {"kind": kind},
        }
        for i in range(12)
        for kind, word in ((1, "Gladly"), (0, "Whatever"))
    ]
    lines = "".join(json.dumps(anchor) + "\n" for anchor in anchors)
    (tiny_campaign / "anchors.jsonl").write_text(lines, encoding="utf-8")

    run(tiny_campaign, rounds=1)
    judge.swapped = True
    report = run(tiny_campaign)["round_2/eval_reports"]

    first, second = alarms_of(report)["verdicts"]
    assert "judge_drift" not in first["causes"]
    assert (second["level"], second["moved_by"]) == ("stop", "judge")
    assert "judge_drift" in second["causes"]
    scored = pl.read_parquet(report.path("anchors.parquet"))
    assert scored.group_by("round").agg((pl.col("score") - pl.col("label")).abs().mean()).sort("round").rows() == [
        (1, 0.0),
        (2, 1.0),
    ]
