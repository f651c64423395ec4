"""The base of every config model: frozen, and a key it does not know is an error that lists those it does."""

import difflib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


class Strict(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _knows_every_key(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for key in value:
                if key not in cls.model_fields:
                    close = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                    hint = f" (did you mean {close[0]!r}?)" if close else ""
                    raise ValueError(f"unknown key {key!r}{hint}; allowed: {', '.join(cls.model_fields)}")
        return value

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that change a result, as plain data: everything outside `runtime`."""
        return self.model_dump(mode="json", exclude={"runtime"})


def explain(path: Path, error: ValidationError) -> str:
    """Pydantic's findings as lines `file: key: what is wrong (got value)`."""
    lines = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"]) or "(top)"
        got = "" if isinstance(item["input"], dict | BaseModel) else f" (got {item['input']!r})"
        lines.append(f"{path}: {key}: {item['msg'].removeprefix('Value error, ')}{got}")
    return "\n".join(lines)
