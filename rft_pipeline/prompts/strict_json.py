"""JSON that is read strictly: each key once, numbers or null, whole characters."""

import json
from typing import Any

from rft_pipeline.errors import DataError


def parse_json(text: bytes, hint: str = "") -> Any:
    """The value of `text`. Raises `DataError`, whose message ends with `hint` if it is not JSON."""
    try:
        value = json.loads(text.decode(), object_pairs_hook=_each_key_once, parse_constant=_no_constant)
        if b"\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError("contains half of a surrogate pair (\\ud800 to \\udfff), which is not a character") from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8: byte 0x{text[error.start]:02x}; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg} at character {error.pos + 1}{hint}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"JSON that cannot be read: {error}") from error
    return value


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise DataError(f"key {next(name for name in names if names.count(name) > 1)!r} appears twice")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise DataError(f"{name} is not a JSON value; use a number or null")
