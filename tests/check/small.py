"""A small campaign that passes, but for what a test breaks in it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rft_pipeline.check import CheckResult, check_campaign
from rft_pipeline.errors import ConfigError, RftError

POLITE = {
    "protocol": "contrast",
    "positive": "You are a courteous person.",
    "negative": "You are a rude person.",
}
CLOZE = {
    "protocol": "cloze",
    "templates": ["They wrote:\n{reply}\nThe tone is"],
    "positive": ["warm"],
    "negative": ["cold"],
}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven")
TRAIN = [{"id": f"t{i}", "prompt": f"Train {n} {n}ty {n}teen.", "urgent": True} for i, n in enumerate(NUMBERS)]
EVAL = [{"id": f"e{i}", "prompt": f"Held out {n} {n}ty.", "urgent": False} for i, n in enumerate(NUMBERS)]
GOOD = {"prompt": "Where?", "completion": "It is on its way.", "labels": {"polite": 1}, "urgent": True}
BAD = {"prompt": "Where?", "completion": "Who cares.", "labels": {"polite": 0}, "urgent": True}
ANCHORS = [{**kind, "prompt": f"Where, {i}?"} for i in range(10) for kind in (GOOD, BAD)]


def rule(name: str, **settings: Any) -> dict[str, Any]:
    return {"protocol": "rule", "rule": {"name": name, **settings}}


def campaign(
    tmp_path: Path,
    criteria: list[dict[str, Any]] | None = None,
    train: list[dict[str, Any]] = TRAIN,
    held_out: list[dict[str, Any]] = EVAL,
    anchors: list[dict[str, Any]] = ANCHORS,
    settings: dict[str, Any] | None = None,
) -> Path:
    """A campaign folder that passes, but for what is given."""
    folder = tmp_path / "small"
    folder.mkdir()
    base = {
        "prompts": {"train": "train.jsonl", "eval": "eval.jsonl"},
        "anchors": "anchors.jsonl",
        "rollouts": {"prompts_per_round": 4, "group_size": 2},
        "training": {"batch_size": 8},
        "promotion": {"min_prompts": 8},
    }
    (folder / "campaign.yaml").write_text(yaml.safe_dump({**base, **(settings or {})}), encoding="utf-8")
    rubric = {"criteria": criteria or [{"name": "polite", "judge": POLITE}]}
    (folder / "rubric.yaml").write_text(yaml.safe_dump(rubric), encoding="utf-8")
    for name, rows in (("train", train), ("eval", held_out), ("anchors", anchors)):
        lines(folder / f"{name}.jsonl", rows)
    return folder


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def check(folder: Path) -> CheckResult:
    return check_campaign(folder, folder.parent / "models", folder.parent / "store")


def errors(folder: Path, kind: type[RftError] = ConfigError) -> list[str]:
    with pytest.raises(kind) as caught:
        check(folder)
    return str(caught.value).replace(f"{folder}/", "").split("\n")


def warnings(folder: Path) -> list[str]:
    """Without those that say how few prompts it has and how small its judge is."""
    found = [warning.replace(f"{folder}/", "") for warning in check(folder).warnings]
    of_its_size = "prompts; below", "asks the embedded model"
    return [warning for warning in found if not any(each in warning for each in of_its_size)]
