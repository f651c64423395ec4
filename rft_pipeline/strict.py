"""The base class of config models: frozen; an unknown key is an error that lists the allowed keys."""

import difflib
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

SINGULAR = {"criteria": "criterion", "members": "member", "held_out": "held-out criterion"}
"""What an entry of these lists is called in messages."""

NUMBERS = (int, float, int | None, float | None)
"""Types whose values may not be written as a text, which pydantic would convert."""


class Strict(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"runtime"})
    """Fields that do not change results."""

    @model_validator(mode="before")
    @classmethod
    def _knows_every_key(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for key in value:
                if key not in cls.model_fields:
                    close = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                    hint = f" (did you mean {close[0]!r}?)" if close else ""
                    allowed = [name for name, field in cls.model_fields.items() if not field.exclude]
                    raise ValueError(f"unknown key {key!r}{hint}; allowed: {', '.join(allowed)}")
                if isinstance(value[key], str) and cls.model_fields[key].annotation in NUMBERS:
                    raise ValueError(f"{key}: {value[key]!r} is a text; write a number, without quotes")
        return value

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that change results, as plain data: all except `RUNTIME`, here and in nested models."""
        plain = self.model_dump(mode="json", exclude=set(self.RUNTIME))
        nested = {name: value.identity for name in plain if isinstance(value := getattr(self, name), Strict)}
        return {**plain, **nested}


def tagged_union(models: Iterable[type[BaseModel]], tag: str) -> Any:
    """The union of these models as the type of a field; the value of the field `tag` says which one is meant."""
    return Annotated[reduce(operator.or_, models), Field(discriminator=tag)]


def key_of(table: Collection[str], what: str) -> AfterValidator:
    """Requires a text to be a key of `table`."""

    def check(name: str) -> str:
        if name not in table:
            raise ValueError(f"{name!r} is not {what}; allowed: {', '.join(table)}")
        return name

    return AfterValidator(check)


def explain(path: Path, error: ValidationError, raw: Any = None) -> str:
    """Pydantic's errors as lines `file: where: what is wrong (got value)`, all of them.

    `raw` is what was validated. With it, an entry of a list is named by its `name`, e.g. `criterion "polite"`.
    """
    lines = []
    found = error.errors(include_url=False)
    for item in found:
        within = [other for other in found if other is not item and other["loc"][: len(item["loc"])] == item["loc"]]
        if item["type"] == "too_short" and within:
            continue  # pydantic counts invalid items as missing
        value = item["input"]
        got = "" if isinstance(value, dict | BaseModel) or item["type"] == "missing" else f" (got {value!r})"
        lines.append(f"{path}: {_where(item['loc'], raw)}: {_in_words(item)}{got}")
    return "\n".join(lines)


def _where(loc: Sequence[int | str], raw: Any) -> str:
    """A key as a person would name it: entries of a list by their name, without the tags of pydantic's unions."""
    named, keys, value, tag = "", [], raw, None
    for part in loc:
        if isinstance(value, dict):
            tags = [] if tag is not None else [value.get("protocol"), value.get("name")]
            if part in tags or (part not in value and part != loc[-1]):
                tag = part  # pydantic names the member of a union that was chosen
                continue
            value, tag = value.get(part), None
            keys.append(str(part))
            continue
        value = value[part] if isinstance(value, list) and isinstance(part, int) and part < len(value) else None
        name = value.get("name") if isinstance(value, dict) else None
        what = SINGULAR.get(keys[-1]) if keys else None
        if isinstance(name, str) and what is not None:
            named, keys = f'{named}{what} "{name}": ', []
        else:
            keys.append(str(part))
    return (named + ".".join(keys)).removesuffix(": ") or "(top)"


def _in_words(item: Mapping[str, Any]) -> str:
    """An error without pydantic's terms."""
    context = item.get("ctx", {})
    if item["type"] == "missing":
        return "is required"
    key = str(context.get("discriminator", "")).strip("'")
    if item["type"] == "union_tag_not_found":
        return f"`{key}` is missing: it says which kind this is"
    if item["type"] == "union_tag_invalid":
        allowed = [each.strip(" '") for each in str(context["expected_tags"]).split(",")]
        close = difflib.get_close_matches(str(context["tag"]), allowed, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        return f"{key}: {str(context['tag'])!r} is unknown{hint}; allowed: {', '.join(map(repr, allowed))}"
    return str(item["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")


def flattened(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Nested settings as one level, with dotted names."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{above}{name}.")
        elif value is not None:
            found[f"{above}{name}"] = str(value)
    return found
