"""Every key of campaign.yaml and rubric.yaml as Markdown, from the schemas."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import fill
from typing import Any

from rft_pipeline.scaffold.schema import schema

HEAD = """# Campaign reference

Every key of `campaign.yaml` and `rubric.yaml`: type, default, meaning. A key
that may be null is null where no other default is shown. Made by
`rft schema reference`; do not edit. Rules are in [Rules](rules.md).

"""
WIDTH = 80
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
RULES = "RuleJudge"
JUDGE = "criteria.judge "
"""How the sections of protocols begin."""
SHARED = 3
"""So many keys that an earlier section has too are named and not shown again; of a protocol, each."""


def reference() -> str:
    """The page."""
    campaign, rubric = schema("campaign"), schema("rubric")
    judges = set(_models(rubric["$defs"]["Criterion"]["properties"]["judge"]))
    parts = ["## campaign.yaml\n", *_section("", campaign, _Page(campaign["$defs"], judges))]
    parts += ["## rubric.yaml\n", *_section("", rubric, _Page(rubric["$defs"]))]
    return HEAD + "\n".join("\n".join(map(_wrapped, part.split("\n"))) for part in parts)


def _wrapped(line: str) -> str:
    """A paragraph or an entry of a list in lines that fit a terminal."""
    indent = "  " if line.startswith("- ") else ""
    return fill(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


@dataclass
class _Page:
    """What the sections of one file share."""

    defs: dict[str, Any]
    seen: set[str] = field(default_factory=set)
    """The models that have a section."""
    lines: dict[str, str] = field(default_factory=dict)
    """The lines of keys → the first section that has it."""


def _section(path: str, model: dict[str, Any], page: _Page) -> Iterator[str]:
    """A list of a model's keys, without those that an earlier section has, and a section for each model below it that
    was not shown yet."""
    defs, seen = page.defs, page.seen
    if path:
        yield f"### {path}\n"
        if about := model.get("description", ""):
            yield " ".join(about.split()) + "\n"
    lines = {key: (line, page.lines.setdefault(line, path)) for key, line in _lines(model, defs)}
    least = 1 if path.startswith(JUDGE) else SHARED
    same = {first: [key for key, (_, shown) in lines.items() if shown == first] for _, first in lines.values()}
    same = {first: keys for first, keys in same.items() if first != path and first and len(keys) >= least}
    own = [line for line, first in lines.values() if first not in same]
    if own:
        yield "\n".join([*own, ""])
    for first, keys in same.items():
        anchor = re.sub(r"[^\w\- ]", "", first.lower()).replace(" ", "-")
        yield f"{'Also, as' if own else 'As'} under [{first}](#{anchor}): {', '.join(f'`{key}`' for key in keys)}.\n"
    for key, value in model["properties"].items():
        below = [name for name in _models(value) if name not in seen]
        seen.update(below)
        for name in below:
            kind = defs[name]["properties"].get("protocol", {}).get("const")
            entry = ".".join(filter(None, (path.partition(" (")[0], key)))
            if name != RULES:
                yield from _section(f"{entry} ({kind})" if kind else entry, defs[name], page)


def _lines(model: dict[str, Any], defs: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The keys of a model, each with its line. The protocol of a judge is in the heading."""
    required = model.get("required", [])
    for key, value in model["properties"].items():
        if key == "protocol" and "const" in value:
            continue
        default = "**required**" if key in required else _default(value)
        meaning = value.get("description", "").replace("<", "&lt;")
        yield key, f"- `{key}` ({_type(value, defs)}{default and ', '}{default}){meaning and ': '}{meaning}"


def _models(value: dict[str, Any]) -> list[str]:
    """The names of the models that a key holds, or holds a list or mapping of."""
    if "$ref" in value:
        return [value["$ref"].rpartition("/")[2]]
    inner = [*value.get("anyOf", []), *value.get("oneOf", [])]
    inner += [value[key] for key in ("items", "additionalProperties") if isinstance(value.get(key), dict)]
    return [name for each in inner for name in _models(each)]


def _type(value: dict[str, Any], defs: dict[str, Any]) -> str:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return _type(defs[name], defs) if "enum" in defs[name] else "block"
    if "oneOf" in value:
        return "block: one of " + ", ".join(f"`{each}`" for each in value["discriminator"]["mapping"])
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_type(each, defs) for each in value["anyOf"]))
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    named = {"string": "text", "array": "list", "object": "mapping", "boolean": "true or false", "null": "null"}
    kind = named.get(value.get("type", ""), value.get("type", "any"))
    bounds = [f"{sign} {value[name]:g}" for name, sign in BOUNDS.items() if name in value]
    return " ".join([kind, ", ".join(bounds)]).strip()


def _default(value: dict[str, Any]) -> str:
    found = value.get("default")
    if isinstance(found, dict) or "default" not in value:
        return ""
    if found is None:
        return ""  # the head of the page says so
    if isinstance(found, bool):
        return f"default {str(found).lower()}"
    return f"default `{found}`" if found not in ("", []) else ""
