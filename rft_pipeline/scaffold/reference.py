"""Every key of campaign.yaml and rubric.yaml as Markdown, from the schemas."""

from collections.abc import Iterator
from typing import Any

from rft_pipeline.scaffold.schema import schema

HEAD = """# Campaign reference

Every key of `campaign.yaml` and `rubric.yaml`: type, default, meaning. Made by `rft schema reference`; do not
edit. Rules are in [Rules](rules.md).

"""
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
RULES = "RuleJudge"


def reference() -> str:
    """The page."""
    campaign, rubric = schema("campaign"), schema("rubric")
    judges = set(_models(rubric["$defs"]["Criterion"]["properties"]["judge"]))
    parts = ["## campaign.yaml\n", *_section("", campaign, campaign["$defs"], judges)]
    parts += ["## rubric.yaml\n", *_section("", rubric, rubric["$defs"], set())]
    return HEAD + "\n".join(parts)


def _section(path: str, model: dict[str, Any], defs: dict[str, Any], seen: set[str]) -> Iterator[str]:
    """A table of a model's keys, and a section for each model below it that was not shown yet."""
    if path:
        yield f"### {path}\n"
        if about := model.get("description", ""):
            yield " ".join(about.split()) + "\n"
    required = model.get("required", [])
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    for key, value in model["properties"].items():
        default = "**required**" if key in required else _default(value)
        meaning = value.get("description", "").replace("|", "\\|").replace("<", "&lt;")
        yield f"| `{key}` | {_type(value, defs)} | {default} | {meaning} |"
    yield ""
    for key, value in model["properties"].items():
        below = [name for name in _models(value) if name not in seen]
        seen.update(below)
        for name in below:
            kind = defs[name]["properties"].get("protocol", {}).get("const")
            entry = ".".join(filter(None, (path.partition(" (")[0], key)))
            if name != RULES:
                yield from _section(f"{entry} ({kind})" if kind else entry, defs[name], defs, seen)


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
    if found is None or isinstance(found, bool):
        return {None: "null", True: "true", False: "false"}[found]
    return f"`{found}`" if found not in ("", []) else ""
