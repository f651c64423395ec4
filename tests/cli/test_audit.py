"""`rft audit`: verdicts first, then what fits the labels."""

import json
from pathlib import Path

from tests.cli.small import Rft
from tests.runs import edit


def test_suggest_prints_the_audit_and_then_the_squashes(rft: Rft, tiny_campaign: Path) -> None:
    anchors = [
        {"prompt": f"Where is parcel {number}?", "completion": completion, "labels": {"polite": label}}
        for number in range(2)
        for completion, label in (("I will gladly look for it.", 1), ("Who cares.", 0))
    ]
    (tiny_campaign / "anchors.jsonl").write_text("".join(json.dumps(each) + "\n" for each in anchors), encoding="utf-8")
    edit(tiny_campaign / "campaign.yaml", "anchors", "anchors.jsonl")
    said = rft("audit", "tiny", "--suggest")
    verdict, squash = (
        "relevant: unaudited, too few labels; trains with 100% of its weight",
        "polite: now squash: {offset",
    )
    assert -1 < said.out.find(verdict) < said.out.find(squash)
    assert "2 good and 2 bad scored replies to 2 prompts; a verdict needs 10 of each" in " ".join(
        said.out.replace("\n  - ", "; ").split()
    )
    assert "to do: label more replies" in said.out
