"""Reading `campaign.yaml` and its rubric."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rft_pipeline.campaign.campaign import Campaign
from rft_pipeline.campaign.rubric import Rubric
from rft_pipeline.campaign.yaml_errors import in_words
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
        raise ConfigError(f"{path}: folder: unknown key; the folder of campaign.yaml is used")
    for key in ("continuation", "policy_called"):
        if key in raw:
            raise ConfigError(f"{path}: {key}: unknown key; a cycle sets it (on_rubric_change: continue)")
    rubric_name = raw.pop("rubric", "rubric.yaml")
    if not isinstance(rubric_name, str):
        raise ConfigError(f"{path}: rubric: {rubric_name!r} must be the name of a file in the campaign's folder")
    rubric = load_rubric(folder / rubric_name)
    named = {"name": folder.name, **raw, "rubric": rubric, "folder": folder}
    with _config_errors(path, named):
        return Campaign.model_validate(named, context={"folder": folder})


def load_rubric(path: Path) -> Rubric:
    """Read a rubric file. Raises `ConfigError`."""
    raw = read_yaml(path)
    with _config_errors(path, raw):
        return Rubric.model_validate(raw, context={"folder": path.parent})


def with_rubric(campaign: Campaign, path: Path) -> Campaign:
    """The campaign with the rubric in this file. Raises `ConfigError`."""
    return replace_rubric(campaign, load_rubric(path), path)


def replace_rubric(campaign: Campaign, rubric: Rubric, path: Path) -> Campaign:
    """The campaign with another rubric, checked together; `path` is its file, for the error. Raises `ConfigError`."""
    settings = {name: getattr(campaign, name) for name in Campaign.model_fields}
    with _config_errors(path):
        return Campaign.model_validate({**settings, "rubric": rubric})


@contextmanager
def _config_errors(path: Path, raw: Any = None) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise ConfigError(explain(path, error, raw)) from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.filename} cannot be read: {error.strerror}") from error


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The C parser, if PyYAML was built with it: several times as fast. Refuses a key that is written twice, and reads
    `1e-5` as a number, as YAML 1.2 does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge" or not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in lines:
                problem = f"the key {key.value!r} is written twice, first in line {lines[key.value]}"
                raise yaml.MarkedYAMLError(None, None, problem, key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]{1,3}$"),
    list("-+0123456789"),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file with one mapping. Raises `ConfigError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not YAML: {error}; save it as UTF-8") from error
    try:
        raw = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date like 2026-13-45
        raise ConfigError(f"{path}: not YAML: {in_words(text, error)}") from error
    if not isinstance(raw, dict):
        kinds = {type(None): "is empty", list: "contains a list", str: "contains a text"}
        found = kinds.get(type(raw), "contains one value")
        raise ConfigError(f"{path}: {found}; it must contain keys and values, like `name: support`")
    return raw
