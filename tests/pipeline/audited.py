"""The tiny campaign with an audit: a judge that agrees with the anchors' labels, and one that is a coin."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from rft_pipeline.cli.outputs import output_schema
from rft_pipeline.store import Record
from tests.runs import edit

AUDIT = ["rubric", "labels", "judge_audit"]
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


def write_audited(folder: Path) -> None:
    """Let the tiny campaign audit two judges on 48 anchors."""
    (folder / "rubric.yaml").write_text(yaml.safe_dump({"criteria": RUBRIC}), encoding="utf-8")
    edit(folder / "campaign.yaml", "anchors", "anchors.jsonl")
    edit(folder / "campaign.yaml", "audit", {"probed_anchors": 6, "resamples": 200})
    edit(folder / "campaign.yaml", "rounds", 1)
    edit(folder / "campaign.yaml", "reward", {"min_group_share": 0.0})  # a coin may decide whole groups alike
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
    (folder / "anchors.jsonl").write_text(lines, encoding="utf-8")


def verdicts(record: Record) -> dict[str, dict[str, Any]]:
    """By criterion; what `rft audit --json` prints of them fits its schema."""
    found = json.loads(record.path("judge_audit.json").read_text(encoding="utf-8"))
    printed = {"criteria": [{"noise": None, **each} for each in found], "pairs": None, "feedback": None}
    jsonschema.validate(printed, output_schema("audit"))
    return {each["criterion"]: each for each in found}
