"""The JSON Schemas of campaign.yaml and rubric.yaml, for editors that complete and check YAML."""

import ast
import inspect
import itertools
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.rubric import Rubric
from rft_pipeline.strict import Strict

FOLDER = ".schema"
"""The folder of the schemas, next to the campaigns."""

Which = Literal["campaign", "rubric"]


def schema(which: Which) -> dict[str, Any]:
    """The schema of a file as it is written: in campaign.yaml the rubric is a file's name, and a source may be one."""
    if which == "rubric":
        return _described(Rubric)
    found = _described(Campaign)
    properties = found["properties"]
    for ours in ("folder", "continuation", "policy_called"):
        del properties[ours]
    properties["rubric"] = {"type": "string", "default": "rubric.yaml"}
    found["required"] = ["prompts"]
    sources = found["$defs"]["Prompts"]["properties"]
    sources |= {split: {"anyOf": [{"type": "string"}, source]} for split, source in sources.items()}
    return found


def _described(model: type[Strict]) -> dict[str, Any]:
    """The schema of a model; each key is described by the text below its field in the source."""
    found = model.model_json_schema()
    shown = {**found.get("$defs", {}), model.__name__: found}
    for each in _below(Strict):
        if each.__name__ not in shown:
            continue
        properties = shown[each.__name__].get("properties", {})
        for key, text in _texts(each).items():
            if key in properties:
                properties[key]["description"] = text
    return found


def _below(model: type[Strict]) -> Iterator[type[Strict]]:
    for each in model.__subclasses__():
        yield each
        yield from _below(each)


def _texts(model: type[Strict]) -> dict[str, str]:
    """Field → the string below it, of a class and those above it."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if not issubclass(each, Strict):
            continue
        for field, below in itertools.pairwise(_classes(each.__module__)[each.__name__].body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                value = below.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    found[field.target.id] = " ".join(value.value.split())
    return found


@cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    """The classes of a module's source. (`inspect.getsource` of a class parses its whole module each time.)"""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {each.name: each for each in tree.body if isinstance(each, ast.ClassDef)}


def write_schemas(folder: Path) -> None:
    """Write both schemas into `folder`/`FOLDER`."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for which in ("campaign", "rubric"):
        text = json.dumps(schema(which), indent=1) + "\n"
        (folder / FOLDER / f"{which}.json").write_text(text, encoding="utf-8")


def first_line(which: Which) -> str:
    """The line that names a file's schema to its editor."""
    return f"# yaml-language-server: $schema=../{FOLDER}/{which}.json\n"
