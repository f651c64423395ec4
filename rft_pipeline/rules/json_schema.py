"""A rule about replies that are JSON."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import regex
from pydantic import Field, PrivateAttr, field_validator

from rft_pipeline.rules.base import SECONDS, Rollout, Rule, RuleScore
from rft_pipeline.rules.json_reply import read_json

if TYPE_CHECKING:
    from jsonschema.protocols import Validator
    from referencing import Resource

_INSTANCES: tuple[Any, ...] = ({}, [], "", 0, None, True)


class JsonSchema(Rule):
    """The reply is one JSON document that satisfies a JSON schema.

    A reply that is not JSON, or gives a key twice, scores 0. One that is nested too deep to be read, or holds a number
    too long to be read, is unscored. A `$ref` names a part of the schema itself: nothing is fetched.
    """

    READS = ()

    name: Literal["json_schema"] = "json_schema"
    version: int = 3
    json_schema: dict[str, Any] = Field()
    _validator: "Validator | None" = PrivateAttr(default=None)

    @field_validator("json_schema")
    @classmethod
    def _is_a_schema(cls, value: dict[str, Any]) -> dict[str, Any]:
        import jsonschema
        from referencing.exceptions import Unresolvable

        try:
            jsonschema.Draft202012Validator.check_schema(value)
            _check_parts(value)
            for instance in _INSTANCES:
                list(_validator_of(value).iter_errors(instance))
        except jsonschema.SchemaError as error:
            raise ValueError(f"not a JSON schema: {error.message}") from error
        except Unresolvable as error:
            raise ValueError(
                f"$ref {error.ref!r} points to nothing in the schema; use a part of it, like '#/$defs/name' (nothing "
                "is fetched from elsewhere)"
            ) from error
        except regex.error as error:
            raise ValueError(f"a pattern of the schema is not a regular expression: {error}") from error
        except RecursionError as error:
            raise ValueError("a $ref of the schema leads back to itself without end") from error
        return value

    def __call__(self, rollout: Rollout) -> RuleScore:
        document, refused = read_json(rollout.completion)
        if refused is not None:
            return refused
        if self._validator is None:
            self._validator = _validator_of(self.json_schema)
        try:
            first = next(self._validator.iter_errors(document), None)
        except RecursionError:
            return RuleScore(None, "nested too deep to be checked against the schema")
        return RuleScore(1.0, "valid") if first is None else RuleScore(0.0, first.message)


def _validator_of(schema: dict[str, Any]) -> "Validator":
    from jsonschema_specifications import REGISTRY

    found: Validator = _validator_class()(schema, registry=REGISTRY)
    return found


@cache
def _validator_class() -> Callable[..., "Validator"]:
    """Draft 2020-12, with a time limit for patterns."""
    from jsonschema import Draft202012Validator, ValidationError, validators

    def pattern(validator: "Validator", wanted: str, instance: Any, _: Any) -> Iterator[ValidationError]:
        if isinstance(instance, str) and not regex.search(wanted, instance, timeout=SECONDS):
            yield ValidationError(f"{instance[:60]!r} does not match {wanted!r}")

    def pattern_properties(validator: Any, parts: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
        if isinstance(instance, dict):
            for wanted, subschema in parts.items():
                for key, value in instance.items():
                    if regex.search(wanted, key, timeout=SECONDS):
                        yield from validator.descend(value, subschema, path=key, schema_path=wanted)

    made: Callable[..., Validator] = validators.extend(  # type: ignore[no-untyped-call]
        Draft202012Validator, {"pattern": pattern, "patternProperties": pattern_properties}
    )
    return made


def _check_parts(schema: dict[str, Any]) -> None:
    """Raises `Unresolvable` for a reference to nothing, `regex.error` for an invalid pattern."""
    from jsonschema_specifications import REGISTRY
    from referencing.jsonschema import DRAFT202012

    root = DRAFT202012.create_resource(schema)
    _check_part(root, REGISTRY.resolver_with_root(root))


def _check_part(part: "Resource[Any]", resolver: Any) -> None:
    if isinstance(part.contents, dict):
        for key in ("$ref", "$dynamicRef"):
            if isinstance(reference := part.contents.get(key), str):
                resolver.lookup(reference)
        for pattern in (part.contents.get("pattern"), *part.contents.get("patternProperties", ())):
            if pattern is not None:
                regex.compile(pattern)
    for each in part.subresources():
        _check_part(each, resolver.in_subresource(each))
