"""Why a stage must run: how its payload differs from that of its current record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rft_pipeline.labels.decided import DECIDED, TRAIN_PAIRS
from rft_pipeline.labels.feedback import FEEDBACK
from rft_pipeline.labels.preferences import PREFERENCES
from rft_pipeline.labels.table import HELD_OUT_LABELS
from rft_pipeline.models import CHECKPOINT
from rft_pipeline.stages import people

REWARDED = ("weights", "criterion_weights", "gates")
"""Settings that hold each criterion's share of the reward, and its gate."""
RUBRIC = ("criteria", *REWARDED)
"""Settings that come from the rubric, by criterion."""
OPINIONS = ("judge_audit", "noise", "labels", TRAIN_PAIRS)
"""Inputs that come from the rubric or from people's labels."""
INPUTS = {
    "train": "the train prompts changed",
    "eval": "the held-out prompts changed",
    "anchors": "the anchors changed",
    "judge_audit": "the audit's verdict changed",
    "labels": "people's labels changed",
    HELD_OUT_LABELS: "people's labels of held-out replies changed",
    DECIDED: "people's answers to blind pairs changed",
    PREFERENCES: "people's answers to blind pairs changed",
    TRAIN_PAIRS: "people's answers to pairs of train prompts changed",
    FEEDBACK: "the feedback of users changed",
    people.REWARDED: "the reward that people's answers are compared with changed",
    "weights": "the policy's weights changed",
    "eval_reports": "the eval report changed",
    "champion": "the champion changed",
    "base": "the policy that the rounds are compared with changed",
}
"""Inputs by their names in a payload, in words."""
LONGEST = 40
"""Characters of a value in a reason."""


@dataclass(frozen=True)
class Change:
    """One key in which two payloads differ."""

    path: tuple[str, ...]
    kind: Literal["new", "gone", "changed"]
    before: Any = None
    after: Any = None

    @property
    def of_rubric(self) -> bool:
        """Whether it comes from the rubric or from people's labels.

        A rubric that has only rules needs no judge, so an added or removed judge comes from the rubric too. The same is
        true for a column of the prompts that becomes used.
        """
        area, *rest = self.path
        if not rest:
            return False
        if area == "settings":
            return rest[0] == "shown_in_order" or (len(rest) > 1 and rest[0] in RUBRIC)
        return rest[0] in OPINIONS or (rest[0].startswith(("judge", "column.")) and self.kind != "changed")

    @property
    def steers(self) -> bool:
        """Whether it changes only what trains the policy on given rollouts: the rubric, labels, judges, rewards."""
        area, *rest = self.path
        return (
            self.of_rubric
            or (area == "settings" and rest[:1] == ["reward"])
            or (area == "inputs" and rest[0].startswith("judge"))
        )

    def in_words(self) -> str:
        """The reason as plans print it."""
        match self.path:
            case ("code_version",):
                return f"another version of the stage ({self.before} → {self.after})"
            case ("settings", "policy_called"):
                return "training starts from another policy"
            case ("settings", "continuation", *_):
                return "another edit cycle" if self.before and self.after else "an edit cycle"
            case ("inputs", name) if name.startswith("column."):
                return f"{name.replace('.', ' ', 1)} of the prompts: {self.kind}"
            case ("inputs", name) if name in INPUTS:
                return INPUTS[name]
            case ("inputs", name) if (words := _of_round(name)) is not None:
                return words
            case ("inputs", *rest):
                return f"input {'.'.join(rest)} changed"
            case ("settings", "model") if str(self.after).startswith(CHECKPOINT):
                return f"starts from {str(self.after).removeprefix(CHECKPOINT).rpartition('/')[0]}"
            case ("settings", ("weights" | "criterion_weights"), _):
                return "weights changed"
            case ("settings", "criteria", name, *setting):
                return f'criterion "{name}": {self._of_criterion(setting)}'
            case (_, *rest):
                return f"{'.'.join(rest or self.path)}: {self.what(LONGEST)}"
        raise AssertionError("a change has a path")

    def _of_criterion(self, setting: list[str]) -> str:
        what = self.what(LONGEST)
        match setting:
            case []:
                return what
            case ["judge", *within]:
                short = _is_short_value(self.before) and _is_short_value(self.after)
                return f"{'.'.join(within)} {what}" if self.kind != "changed" or short else "text changed"
            case _:
                return f"{'.'.join(setting)} {what}"

    def what(self, longest: int) -> str:
        """Both values, each cut at `longest`; or that the key is new or gone."""
        if self.kind != "changed":
            return self.kind
        return f"{_short(self.before, longest)} → {_short(self.after, longest)}"


OF_ROUND = {"judge_scores_": "the judgements of round {} changed", "checkpoints_": "the checkpoint of round {} changed"}
"""Beginning of an input's name, before the number of a round, in words."""


def _of_round(name: str) -> str | None:
    found = (words.format(name.removeprefix(start)) for start, words in OF_ROUND.items() if name.startswith(start))
    return next(found, None)


@dataclass(frozen=True)
class Waits:
    """An upstream stage runs first."""

    node: str

    def in_words(self) -> str:
        return f"an earlier stage runs: {self.node}"


@dataclass(frozen=True)
class Absent:
    """There is no current record."""

    was_made: bool
    """Whether there was one; its files are missing now."""

    def in_words(self) -> str:
        return "files of its record are missing" if self.was_made else "never made"


Reason = Change | Waits | Absent


def is_of_rewards(change: Change) -> bool:
    """Whether it is one criterion's share in the reward, or its gate."""
    return len(change.path) > 2 and change.path[0] == "settings" and change.path[1] in REWARDED


def changes(old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[Change]:
    """The keys in which two payloads differ; lists of named entries are compared by name."""
    found: list[Change] = []
    for key in sorted(old.keys() | new.keys()):
        here = (*path, key)
        if key not in old:
            found.append(Change(here, "new", after=new[key]))
        elif key not in new:
            found.append(Change(here, "gone", before=old[key]))
        elif isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            found += changes(old[key], new[key], here)
        elif old[key] != new[key]:
            before, after = _by_name(old[key]), _by_name(new[key])
            within = changes(before, after, here) if before and after else []
            found += within or [Change(here, "changed", old[key], new[key])]
    return found


def _is_short_value(value: Any) -> bool:
    """A number or one word, rather than a text or a list."""
    text = _short(value, LONGEST)
    return len(text) <= 20 and " " not in text and not text.startswith(("[", "{"))


def _by_name(value: Any) -> dict[str, Any]:
    """A list of named entries, by name; empty for anything else."""
    named = isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value)
    return {item["name"]: item for item in value} if named else {}


def _short(value: Any, longest: int) -> str:
    text = "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}…"
