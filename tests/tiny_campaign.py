"""The tiny campaign: two rounds of 4 prompts × 4 rollouts × 8 tokens on the tiny model."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

TOPICS = (
    "lamp",
    "chair",
    "desk",
    "table",
    "parcel",
    "order",
    "price",
    "message",
    "answer",
    "tone",
    "number",
    "agent",
    "person",
    "words",
    "day",
    "good lamp",
    "late parcel",
    "bad chair",
)

RUBRIC: dict[str, Any] = {
    "criteria": [
        {
            "name": "polite",
            "judge": {
                "protocol": "contrast",
                "positive": "You are a polite and helpful support agent.",
                "negative": "You are a rude and cold person.",
                "squash": {"scale": 0.05},
            },
        },
        {"name": "relevant", "judge": {"protocol": "relevance", "system": "You are a support agent."}},
        {"name": "says_enough", "judge": {"protocol": "rule", "rule": {"name": "length", "min_words": 6}}},
        {"name": "has_an_e", "weight": 0.5, "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": "e"}}},
    ]
}


def write_home(home: Path, empty_mlflow: Path) -> str:
    """Write an empty home with a copy of a database of MLflow; returns its path as text."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(empty_mlflow, home / "mlflow.db")
    return str(home)


def write_campaign(root: Path, model: Path) -> Path:
    """Write the tiny campaign below `root / "data"`; returns its folder."""
    folder = root / "data" / "tiny"
    (folder / "prompts").mkdir(parents=True)
    runtime = {"batch_size": 16, "dtype": "float32", "device": "cpu"}
    campaign = {
        "name": "tiny",
        "seed": 7,
        "rounds": 2,
        "policy": {"model": str(model), "system": "You are a support agent."},
        "prompts": {"train": "prompts/train.jsonl", "eval": "prompts/eval.jsonl"},
        "rollouts": {
            "prompts_per_round": 4,
            "group_size": 4,
            "sampling": {"max_new_tokens": 8},
            "runtime": runtime,
        },
        "judge": {"model": str(model), "runtime": runtime},
        "training": {
            "learning_rate": 1e-3,
            "batch_size": 8,
            "steps_per_generation": None,
            "runtime": {"micro_batch_size": 8, "device": "cpu"},
        },
        "evaluation": {
            "sampling": {"temperature": 0.7, "max_new_tokens": 8},
            "resamples": 100,
            "runtime": runtime,
        },
        "promotion": {"min_prompts": 6, "error": 0.45},
        "checks": {"max_truncated_share": 0.0},  # a check that fails for any weights: some reply ends with the budget
    }
    _write_yaml(folder / "campaign.yaml", campaign)
    _write_yaml(folder / "rubric.yaml", RUBRIC)
    for split, topics in (("train", TOPICS[:12]), ("eval", TOPICS[12:])):
        rows = [
            {"id": f"{split}-{i:02d}", "prompt": f"Please help with the {topic}."} for i, topic in enumerate(topics, 1)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "prompts" / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


def write_on_policy(root: Path, model: Path) -> Path:
    """Write the tiny campaign in 4 generations of 2 prompts × 4 rollouts, one step each; returns its folder."""
    folder = write_campaign(root, model)
    campaign = yaml.safe_load((folder / "campaign.yaml").read_text(encoding="utf-8"))
    campaign["rollouts"] |= {"prompts_per_round": 8, "runtime": {**campaign["rollouts"]["runtime"], "batch_size": 4}}
    campaign["judge"]["runtime"] |= {"batch_size": 4}
    campaign["training"] |= {"steps_per_generation": 1}
    campaign["training"]["runtime"] |= {"save_steps": 1}
    _write_yaml(folder / "campaign.yaml", campaign)
    return folder


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
