"""Reading a reply that is one JSON document."""

import json
from typing import Annotated, Any

from rft_pipeline.rules.base import RuleScore
from rft_pipeline.strict import Spelled

FieldPath = Annotated[str, Spelled(r"[^.]+(\.[^.]+)*", "a key, or keys with a dot between each, e.g. total.amount")]
"""A key, or keys and places in lists with dots between them: `decision`, `total.amount`, `items.0.price`."""


def read_json(reply: str) -> tuple[Any, RuleScore | None]:
    """The document, or what a reply that is none scores: 0 if it is not JSON or an object has a key twice, None if it
    cannot be read (nested too deep, or a number is too long)."""
    try:
        return json.loads(reply, parse_constant=_no_constant, object_pairs_hook=_keys_once), None
    except RecursionError:
        return None, RuleScore(None, "nested too deep to be read")
    except json.JSONDecodeError as error:
        return None, RuleScore(0.0, f"not JSON: {error}")
    except ValueError as error:
        return None, RuleScore(None, f"cannot be read: {error}")


def read_field(reply: str, path: str) -> tuple[Any, RuleScore | None]:
    """The value of a field of the document, or what a reply without it scores."""
    found, refused = read_json(reply)
    if refused is not None:
        return None, refused
    for step in path.split("."):
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None, RuleScore(0.0, f"no field {path!r}")
    return found, None


def _no_constant(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is not a JSON value", name, 0)


def _keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two values for one key would leave it to the reader which one counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise json.JSONDecodeError(f"the key {twice[:40]!r} is given twice", twice, 0)
    return found
