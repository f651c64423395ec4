"""Writes the rubric with another judge of one criterion next to the rubric, with its comments."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rft_pipeline.campaign import load_rubric, read_yaml
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.errors import ConfigError
from rft_pipeline.files import replace_text
from rft_pipeline.scaffold import yaml_text
from rft_pipeline.suggest.candidates import Raw

MARK = "Suggested by `rft rubric suggest`:"
"""How the comment above a suggestion begins."""


def rubric_path(folder: Path) -> Path:
    """The rubric that campaign.yaml names."""
    return folder / str(read_yaml(folder / "campaign.yaml").get("rubric", "rubric.yaml"))


def suggested_path(rubric: Path) -> Path:
    """`rubric.suggested.yaml` next to `rubric.yaml`."""
    return rubric.with_name(f"{rubric.stem}.suggested{rubric.suffix}")


def present_judge(rubric: Path, criterion: str) -> dict[str, Any]:
    """A criterion's judge as the rubric's file has it."""
    found: dict[str, Any] = read_yaml(rubric)["criteria"][_place(rubric, criterion)]["judge"]
    return found


def write_suggested(rubric: Path, criterion: str, judge: Raw, why: str) -> Path:
    """Write the rubric with another judge of one criterion, and above it a comment that says why, which takes the place
    of the comment of an earlier suggestion; returns the file.

    A criterion without a description gets the present question as its description, so that labels keep their question.
    Raises `ConfigError` if the rubric cannot be edited as text.
    """
    now, place = load_rubric(rubric), _place(rubric, criterion)
    path = suggested_path(rubric)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        text = _edited(rubric, now.criteria[place], place, judge)
        text = yaml_text.put_above(text, ("criteria", place), f"{MARK} {why}")
        text = re.sub(rf"^ *# {re.escape(MARK)}.*\n(?= *# {re.escape(MARK)})", "", text, flags=re.MULTILINE)
        temporary.write_text(text, encoding="utf-8")
        found, written = load_rubric(temporary), present_judge(temporary, criterion)
    except (yaml.YAMLError, ConfigError) as error:
        raise ConfigError(f"{rubric}: {_by_hand(criterion, judge)} ({error})") from error
    finally:
        temporary.unlink(missing_ok=True)
    untouched = [each for number, each in enumerate(now.criteria) if number != place]
    if written != dict(judge) or [each for number, each in enumerate(found.criteria) if number != place] != untouched:
        raise ConfigError(f"{rubric}: {_by_hand(criterion, judge)}")
    replace_text(path, text)
    return path


def _edited(rubric: Path, criterion: Criterion, place: int, judge: Raw) -> str:
    """The rubric's text with another judge."""
    text, present = rubric.read_text(encoding="utf-8"), present_judge(rubric, criterion.name)
    if present["protocol"] == judge["protocol"] and present.keys() <= judge.keys():
        text = _with_values(text, ("criteria", place, "judge"), present, judge)
    else:
        text = yaml_text.set_value(text, ("criteria", place, "judge"), _flow(dict(judge)))
    asked = criterion.judge.asks
    if asked and not criterion.description:
        text = yaml_text.set_value(text, ("criteria", place, "description"), _flow(asked))
    return text


def _with_values(text: str, path: tuple[str | int, ...], present: Raw, new: Raw) -> str:
    """The text with the values below `path` that differ."""
    for name, value in new.items():
        now = present.get(name)
        if isinstance(value, Mapping) and isinstance(now, Mapping) and now.keys() <= value.keys():
            text = _with_values(text, (*path, name), now, value)
        elif now != value:
            text = yaml_text.set_value(text, (*path, name), _flow(value))
    return text


def _by_hand(criterion: str, judge: Raw) -> str:
    return (
        "the suggestion cannot be written without changing more of the file, e.g. because of an alias (*name); set the "
        f"judge of {criterion} by hand: {_flow(dict(judge))}"
    )


def _place(rubric: Path, criterion: str) -> int:
    return [each["name"] for each in read_yaml(rubric)["criteria"]].index(criterion)


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    if not isinstance(value, Mapping | Sequence) or isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    found: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=float("inf"))
    return found.strip()
