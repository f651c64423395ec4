"""Why a stage has to run, in words: what its result would be made from beside what the one in force was made from."""

from collections.abc import Mapping
from typing import Any

RUBRIC = ("criteria.", "weights.", "gates.", "shown_in_order")
"""Settings of stages that come from the rubric."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "", longest: int = 40) -> list[str]:
    """The keys in which two payloads differ, with both values cut at `longest`; things in a list go by name."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        name = f"{where}{key}"
        if key not in old:
            found.append(f"{name}: new")
        elif key not in new:
            found.append(f"{name}: gone")
        elif isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            found += differences(old[key], new[key], f"{name}.", longest)
        elif old[key] != new[key]:
            before, after = _by_name(old[key]), _by_name(new[key])
            within = differences(before, after, f"{name}.", longest) if before and after else []
            found += within or [f"{name}: {_short(old[key], longest)} → {_short(new[key], longest)}"]
    return found


def in_words(difference: str) -> str:
    """One line of `differences` between two payloads, as a person would say it."""
    where, _, change = difference.partition(": ")
    area, _, rest = where.partition(".")
    if area == "inputs":
        return f"input {rest} changed"
    if area == "settings" and rest.startswith("criteria."):
        _, name, *setting = rest.split(".")
        return f'criterion "{name}": {_of_criterion(setting, change)}'
    return f"{rest or where}: {change}"


def is_rubric(stage: str, difference: str) -> bool:
    """Whether a difference comes from an edit of the rubric (a rubric without model judges needs no judge model), or
    of what people said of replies."""
    where = difference.partition(": ")[0]
    return (
        stage in ("rubric", "judge_audit", "labels")
        or where.removeprefix("settings.").startswith(RUBRIC)
        or where in ("inputs.judge_audit", "inputs.noise", "inputs.labels")
        or (difference.startswith("inputs.judge") and difference.endswith((": new", ": gone")))
    )


def _of_criterion(setting: list[str], change: str) -> str:
    match setting:
        case []:
            return change
        case ["judge", *within]:
            before, arrow, after = change.partition(" → ")
            if not arrow or (_is_short_value(before) and _is_short_value(after)):
                return f"{'.'.join(within)} {change}"
            return "text changed"
        case _:
            return f"{'.'.join(setting)} {change}"


def _is_short_value(text: str) -> bool:
    """A number or one word, rather than a text or a list."""
    return len(text) <= 20 and " " not in text and not text.startswith(("[", "{"))


def _by_name(value: Any) -> dict[str, Any]:
    """A list of things with names, by name; empty for anything else."""
    named = isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value)
    return {item["name"]: item for item in value} if named else {}


def _short(value: Any, longest: int) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}…"
