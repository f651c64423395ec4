"""The base class of config models: frozen; an unknown key is an error that lists the allowed keys."""

import difflib
import operator
from collections.abc import Collection, Iterable, Mapping
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator


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


def explain(path: Path, error: ValidationError) -> str:
    """Pydantic's errors as lines `file: key: what is wrong (got value)`."""
    lines = []
    found = error.errors(include_url=False)
    for item in found:
        within = [other for other in found if other is not item and other["loc"][: len(item["loc"])] == item["loc"]]
        if item["type"] == "too_short" and within:
            continue  # pydantic counts invalid items as missing
        key = ".".join(str(part) for part in item["loc"]) or "(top)"
        got = "" if isinstance(item["input"], dict | BaseModel) else f" (got {item['input']!r})"
        lines.append(f"{path}: {key}: {item['msg'].removeprefix('Value error, ')}{got}")
    return "\n".join(lines)


def flattened(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Nested settings as one level, with dotted names."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{above}{name}.")
        elif value is not None:
            found[f"{above}{name}"] = str(value)
    return found
