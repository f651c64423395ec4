"""Campaigns with labels that one wording explains and another does not."""

import json
from pathlib import Path
from typing import Any

import yaml

from rft_pipeline.campaign import load_campaign
from rft_pipeline.judges import make_judge
from rft_pipeline.rules import Rollout
from tests.engines.serving import Serving
from tests.judges.engines import OneEngine
from tests.runs import edit

PROMPTS = 20
WORDS = ("lamp", "chair", "desk", "parcel", "order", "price", "message", "answer", "tone", "number", "agent", "day")
POLITE, RUDE = "You are a polite and helpful support agent.", "You are a rude and cold person."
AUDIT = {"min_per_side": 5, "min_prompts": 5, "resamples": 200}


def replies() -> list[tuple[str, str]]:
    """Two replies to each of 20 prompts."""
    return [
        (f"Where is my {WORDS[number % 12]} number {number}?", f"The {WORDS[(5 * number + part) % 12]} is here.")
        for number in range(PROMPTS)
        for part in range(2)
    ]


def write_anchors(folder: Path, criterion: str, labels: list[int]) -> None:
    """Label the replies, and have the campaign audit its judges with them."""
    rows = [
        {"id": f"a{place}", "prompt": prompt, "completion": reply, "labels": {criterion: label}}
        for place, ((prompt, reply), label) in enumerate(zip(replies(), labels, strict=True))
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "anchors.jsonl").write_text(text, encoding="utf-8")
    edit(folder / "campaign.yaml", "anchors", "anchors.jsonl")
    edit(folder / "campaign.yaml", "audit", AUDIT)


def nats(folder: Path, engine: Any, criterion: str = "polite") -> list[float]:
    """What the criterion's judge measures of each reply."""
    (judge,) = [each.judge for each in load_campaign(folder).rubric.criteria if each.name == criterion]
    rollouts = [Rollout(prompt, reply) for prompt, reply in replies()]
    found = sorted(pair for part in make_judge(judge, OneEngine(engine)).score(rollouts) for pair in part)
    return [float(judgement.raw.split()[0]) for _, judgement in found]


def write_served(folder: Path, server: Serving, question: str) -> None:
    """Replace `polite` by a question to a served judge, labelled by the numbers in the prompts."""
    judge = {"protocol": "binary", "by": "strong", "question": question}
    edit(folder / "rubric.yaml", "criteria.0", {"name": "polite", "judge": judge})
    settings = {"url": server.url, "concurrency": 8, "attempts": 3}
    edit(folder / "campaign.yaml", "judges", {"strong": {"model": "served:judge", "server": settings}})
    write_anchors(folder, "polite", [int(number % 3 > 0) for number in range(PROMPTS) for _ in range(2)])


def rubric_of(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
