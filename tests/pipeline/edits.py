"""What the tiny campaign says, as a value: an edit is another value, and going back is the former one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rft_pipeline.fingerprint import fingerprint, seed_of

SEED = 7
SYSTEM = "You are a support agent."
ADDABLE_PROMPTS = tuple(f"Please help with the {topic}." for topic in ("lamp", "late parcel", "bad chair", "price"))
EVAL_PROMPTS = ("Is the desk good?", "Where is the order?")
NEW_TOKENS = 5


def _contrast(positive: str, scale: float = 0.05) -> dict[str, Any]:
    negative = "You are a rude and cold person."
    return {"protocol": "contrast", "positive": positive, "negative": negative, "squash": {"scale": scale}}


def _rule(name: str, **settings: Any) -> dict[str, Any]:
    return {"protocol": "rule", "rule": {"name": name, **settings}}


TEXTS: dict[str, tuple[dict[str, Any], ...]] = {
    "polite": (
        _contrast("You are a polite and helpful support agent."),
        _contrast("You are a warm and kind agent."),
        _contrast("You are a polite and helpful support agent.", scale=0.1),
    ),
    "relevant": (
        {"protocol": "relevance", "system": "You are a support agent."},
        {"protocol": "relevance", "system": "You are a helpful person."},
    ),
    "says_enough": (_rule("length", min_words=2), _rule("length", min_words=3)),
    "has_an_e": (_rule("regex", pattern="e"), _rule("regex", pattern="a")),
}
"""Criterion → the texts it may have."""

SQUASHED_OTHERWISE = 2
"""The text of `polite` that asks what its first asks, with another squash."""

SAME_VERDICTS = _rule("regex", pattern="(e)")
"""Another text of `has_an_e` that gives the scores of its first."""


@dataclass(frozen=True)
class Criterion:
    """One criterion of the rubric."""

    name: str
    text: int = 0
    """Which of its texts; −1 is `SAME_VERDICTS`."""
    weight: float = 1.0
    gate: float | None = None

    @property
    def judge(self) -> dict[str, Any]:
        return TEXTS[self.name][self.text] if self.text >= 0 else SAME_VERDICTS

    def plain(self) -> dict[str, Any]:
        gate = {} if self.gate is None else {"gate": self.gate}
        return {"name": self.name, "weight": self.weight, **gate, "judge": self.judge}


@dataclass(frozen=True)
class Content:
    """Everything about the campaign that a result may follow from, and in `spelling` what none does."""

    criteria: tuple[Criterion, ...] = tuple(Criterion(name) for name in TEXTS)
    prompts: tuple[str, ...] = ADDABLE_PROMPTS[:3]
    group_size: int = 2
    damping: float = 0.1
    learning_rate: float = 1e-3
    judge: str = "tiny_model"
    """The folder of the judge's model, beside the policy's."""
    versions: tuple[tuple[str, int], ...] = ()
    """Protocols whose version has grown."""
    spelling: str = field(default="plain", compare=False)
    """`plain`, `commented` (comments, key order, white space) or `runtime` (batch sizes, threads of work)."""

    @property
    def names(self) -> set[str]:
        return {criterion.name for criterion in self.criteria}

    def of(self, name: str) -> Criterion:
        return next(criterion for criterion in self.criteria if criterion.name == name)

    def protocols(self) -> Mapping[str, str]:
        """Criterion → its protocol."""
        return {criterion.name: criterion.judge["protocol"] for criterion in self.criteria}

    def write(self, folder: Path, models: Path) -> None:
        """The campaign's files; `models` is the folder that holds the models."""
        (folder / "prompts").mkdir(parents=True, exist_ok=True)
        _write(folder / "campaign.yaml", self._campaign(models), self.spelling)
        _write(folder / "rubric.yaml", {"criteria": [criterion.plain() for criterion in self.criteria]}, self.spelling)
        for split, prompts in (("train", self.prompts), ("eval", EVAL_PROMPTS)):
            text = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)
            (folder / "prompts" / f"{split}.jsonl").write_text(text, encoding="utf-8")

    def _campaign(self, models: Path) -> dict[str, Any]:
        # One row a batch: a batch of another make-up rounds differently in the last bits of a log-probability, and
        # whole records are compared.
        size = 3 if self.spelling == "runtime" else 1
        runtime = {"batch_size": size, "dtype": "float32", "device": "cpu"}
        return {
            "name": "tiny",
            "seed": SEED,
            "rounds": 2,
            "policy": {"model": str(models / "tiny_model"), "system": SYSTEM},
            "prompts": {"train": "prompts/train.jsonl", "eval": "prompts/eval.jsonl"},
            "rollouts": {
                "prompts_per_round": 10,
                "group_size": self.group_size,
                "sampling": {"max_new_tokens": NEW_TOKENS},
                "runtime": runtime,
            },
            "judge": {"model": str(models / self.judge), "runtime": runtime},
            "reward": {"damping": self.damping, "min_group_share": 0},
            "training": {
                "steps_per_generation": None,
                "learning_rate": self.learning_rate,
                "batch_size": 4,
                "runtime": {"micro_batch_size": 2 if self.spelling == "runtime" else 4, "device": "cpu"},
            },
            "evaluation": {
                "sampling": {"temperature": 0.7, "max_new_tokens": NEW_TOKENS},
                "resamples": 100,
                "runtime": runtime,
            },
            "promotion": {"min_prompts": 2},
        }

    def seeds(self) -> list[tuple[str, int]]:
        """The prompt and the seed of each of a round's P·G rollouts."""
        ids = {prompt: fingerprint([{"role": "user", "content": prompt}]) for prompt in self.prompts}
        return [
            (prompt, seed_of(SEED, "rollout", ids[prompt], index))
            for prompt in self.prompts
            for index in range(self.group_size)
        ]


def _write(path: Path, content: dict[str, Any], spelling: str) -> None:
    commented = spelling == "commented"
    text = yaml.safe_dump(content, sort_keys=commented, indent=4 if commented else 2)
    path.write_text(f"# Reviewed.\n\n{text}\n# The end.\n" if commented else text, encoding="utf-8")
