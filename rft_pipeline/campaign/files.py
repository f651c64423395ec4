"""Reading `campaign.yaml` and the rubric it names."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rft_pipeline.campaign.campaign import Campaign
from rft_pipeline.campaign.rubric import Rubric
from rft_pipeline.errors import ConfigError
from rft_pipeline.strict import explain


def load_campaign(folder: Path) -> Campaign:
    """Read `campaign.yaml` and the rubric it names.

    Raises `ConfigError` naming file, key, value and what is allowed.
    """
    path = folder / "campaign.yaml"
    raw = read_yaml(path)
    if raw.get("name", folder.name) != folder.name:
        raise ConfigError(f"{path}: name: {raw['name']!r} must be the folder's name, {folder.name!r}")
    if "folder" in raw:
        raise ConfigError(f"{path}: folder: unknown key; a campaign lies where its campaign.yaml lies")
    rubric_name = raw.pop("rubric", "rubric.yaml")
    if not isinstance(rubric_name, str):
        raise ConfigError(f"{path}: rubric: {rubric_name!r} must be the name of a file beside campaign.yaml")
    rubric = load_rubric(folder / rubric_name)
    try:
        named = {"name": folder.name, **raw, "rubric": rubric, "folder": folder}
        return Campaign.model_validate(named, context={"folder": folder})
    except ValidationError as error:
        raise ConfigError(explain(path, error)) from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.filename} cannot be read: {error.strerror}") from error


def load_rubric(path: Path) -> Rubric:
    """Read a rubric file. Raises `ConfigError`."""
    raw = read_yaml(path)
    try:
        return Rubric.model_validate(raw, context={"folder": path.parent})
    except ValidationError as error:
        raise ConfigError(explain(path, error)) from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.filename} cannot be read: {error.strerror}") from error


def with_rubric(campaign: Campaign, path: Path) -> Campaign:
    """The campaign as it would be if the file were its rubric. Raises `ConfigError`."""
    rubric = load_rubric(path)
    try:
        return Campaign.model_validate({**dict(campaign), "rubric": rubric})
    except ValidationError as error:
        raise ConfigError(explain(path, error)) from error


def _in_one_line(error: Exception) -> str:
    """What a parser says, and where."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        context = "" if error.context is None else f" {error.context}"
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}{context}"
    return " ".join(str(error).split())


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C where PyYAML was built with it, several times as fast."""


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds one mapping. Raises `ConfigError`."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or a date like 2026-13-45
        raise ConfigError(f"{path}: not YAML: {_in_one_line(error)}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: must hold a mapping of settings, holds {type(raw).__name__}")
    return raw
