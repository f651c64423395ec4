"""The base class of config models: frozen; an unknown key is an error that lists the allowed keys."""

import difflib
import operator
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

SINGULAR = {"criteria": "criterion", "members": "member", "held_out": "criterion of the alarms"}
"""What an entry of these lists is called in messages."""

NUMBERS = (int, float, int | None, float | None)
"""Types whose values may not be written as a text, which pydantic would convert."""


UNKNOWN = "unknown_key"
"""The type of the error of an unknown key."""
SPELLED = "spelled"
"""The type of the error of a text that does not match its pattern."""
WORDS = {
    **dict.fromkeys(
        ("model_attributes_type", "model_type", "dict_type", "dataclass_type"), "must be a block of keys and values"
    ),
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list"),
    "string_type": "must be a text",
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "must be a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "must be true or false"),
}
"""Types of pydantic's errors whose messages use its own terms → what they mean in YAML."""


class Strict(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"runtime"})
    """Fields that do not change results."""
    ELSEWHERE: ClassVar[Mapping[str, str]] = {}
    """Keys that people write here although they belong elsewhere → where."""

    @model_validator(mode="wrap")
    @classmethod
    def _with_unknown_keys(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Reports unknown keys and quoted numbers together with what else is wrong."""
        wrong = list(cls._wrong_keys(value)) if isinstance(value, dict) else []
        if not wrong:
            return validate(value)
        named = {each["loc"][0] for each in wrong}
        meant = named | {close for key in named for close in _close(str(key), cls.model_fields)}
        try:
            validate({key: each for key, each in value.items() if key not in named})
        except ValidationError as error:  # without these keys, one is missing, and rules over several may be broken
            wrong += [_again(each) for each in error.errors() if each["loc"] and each["loc"][0] not in meant]
        raise ValidationError.from_exception_data(cls.__name__, wrong)

    @classmethod
    def _wrong_keys(cls, value: Mapping[Any, Any]) -> Iterator[InitErrorDetails]:
        for key, given in value.items():
            if key not in cls.model_fields:
                if key in cls.ELSEWHERE:
                    yield InitErrorDetails(
                        type=_custom(UNKNOWN, f"{key!r} is no key here: {cls.ELSEWHERE[key]}"), loc=(key,), input={}
                    )
                    continue
                allowed = [name for name, field in cls.model_fields.items() if not field.exclude]
                said = f"unknown key {key!r}{did_you_mean(str(key), allowed)}; allowed: {', '.join(allowed)}"
                yield InitErrorDetails(type=_custom(UNKNOWN, said), loc=(key,), input={})
            elif isinstance(given, str) and cls.model_fields[key].annotation in NUMBERS:
                said = f"{given!r} is a text; write a number, without quotes"
                yield InitErrorDetails(type=_custom("quoted", said), loc=(key,), input={})

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that change results, as plain data: all except `RUNTIME`, here and in nested models."""
        plain = self.model_dump(mode="json", exclude=set(self.RUNTIME))
        nested = {name: value.identity for name in plain if isinstance(value := getattr(self, name), Strict)}
        return {**plain, **nested}


def _custom(kind: str, said: str, context: dict[str, Any] | None = None) -> PydanticCustomError:
    return PydanticCustomError(kind, said, context)


def _again(item: "ErrorDetails") -> InitErrorDetails:
    """An error of pydantic, to be raised again together with others."""
    context = {name: str(value) for name, value in item.get("ctx", {}).items()}
    return InitErrorDetails(type=_custom(item["type"], item["msg"], context), loc=item["loc"], input=item["input"])


def _close(word: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(word, list(known), n=1)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'weight'?)` for a word that is nearly one of `known`, else nothing."""
    close = _close(word, known)
    return f" (did you mean {close[0]!r}?)" if close else ""


def tagged_union(models: Iterable[type[BaseModel]], tag: str) -> Any:
    """The union of these models as the type of a field; the value of the field `tag` says which one is meant."""
    return Annotated[reduce(operator.or_, models), Field(discriminator=tag)]


def key_of(table: Collection[str], what: str) -> AfterValidator:
    """Requires a text to be a key of `table`."""

    def check(name: str) -> str:
        if name not in table:
            raise ValueError(f"{name!r} is not {what}{did_you_mean(name, table)}; allowed: {', '.join(table)}")
        return name

    return AfterValidator(check)


@dataclass(frozen=True)
class Spelled:
    """Requires a text to match `pattern` from end to end; `allowed` says in words what that is."""

    pattern: str
    allowed: str
    secret: bool = False
    """Whether what was written may be a secret, which the message must not show."""

    def _check(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            shown = "this text" if self.secret else repr(text)
            raise _custom(SPELLED, f"{shown} is not allowed; write {self.allowed}")
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^{self.pattern}$"}


NAME = Spelled(r"[a-z][a-z0-9_]*", "small letters (a to z), digits and _, with a letter first")
"""A name that people choose."""


def explain(path: Path, error: ValidationError, raw: Any = None) -> str:
    """Pydantic's errors as lines `file: where: what is wrong (got value)`, all of them.

    `raw` is what was validated. With it, an entry of a list is named by its `name`, e.g. `criterion "polite"`.
    """
    lines: dict[tuple[str, str, str], str] = {}
    found = error.errors(include_url=False)
    for item in found:
        within = [other for other in found if other is not item and other["loc"][: len(item["loc"])] == item["loc"]]
        if item["type"] == "too_short" and within:
            continue  # pydantic counts invalid items as missing
        value = item["input"]
        shown = "nothing" if value is None else repr(value)
        said = item["type"] in ("missing", SPELLED) or (
            item["type"] == "value_error" and (value == "" or shown in item["msg"])
        )
        got = "" if said or isinstance(value, dict | BaseModel) else f" (got {shown})"
        loc = item["loc"][:-1] if item["type"] == UNKNOWN else item["loc"]
        where, words = (
            ": ".join([str(path), *filter(None, [_where(loc, raw, absent=item["type"] == "missing")])]),
            in_words(item),
        )
        key = where, got, "" if words.startswith(_MUST) else words
        if key in lines and words != lines[key]:  # the key takes values of several types; each said why it is none
            words = f"{lines[key]}; or {words.removeprefix(_MUST)}"
        lines[key] = words
    return "\n".join(f"{where}: {words}{got}" for (where, got, _), words in lines.items())


_MUST = "must be "
_TAG = re.compile(r"(literal|tuple|list|dict|function-\w+|constrained-\w+|lax-or-strict|json-or-python)\[")
"""How pydantic names the members of a union that has no names of its own."""


def _where(loc: Sequence[int | str], raw: Any, *, absent: bool) -> str:
    """A key as a person would name it: entries of a list by their name, without the tags of pydantic's unions.
    `absent`: the last key is not in the file."""
    named, keys, value, tag = "", [], raw, None
    for part in loc:
        if isinstance(part, str) and (_TAG.match(part) or (raw is not None and not isinstance(value, dict))):
            continue  # pydantic names the member of a union that was tried
        if isinstance(value, dict):
            tags = [] if tag is not None else [value.get("protocol"), value.get("name")]
            if part in tags or (part not in value and not (absent and part == loc[-1])):
                tag = part  # pydantic names the member of a union that was chosen
                continue
            value, tag = value.get(part), None
            keys.append(str(part))
            continue
        value = value[part] if isinstance(value, list) and isinstance(part, int) and part < len(value) else None
        name = value.get("name") if isinstance(value, dict) else None
        what = SINGULAR.get(keys[-1]) if keys else None
        if what is not None and isinstance(part, int):
            called = f'"{name}"' if isinstance(name, str) else str(part + 1)
            named, keys = f"{named}{what} {called}: ", []
        else:
            keys.append(str(part))
    return (named + ".".join(keys)).removesuffix(": ")


def in_words(item: Mapping[str, Any]) -> str:
    """One of the errors of a `ValidationError`, without pydantic's terms."""
    context = item.get("ctx", {})
    if item["type"] == "missing":
        return "is required"
    key = str(context.get("discriminator", "")).strip("'")
    if item["type"] == "union_tag_not_found":
        return f"`{key}` is missing: it says which kind this is"
    if item["type"] == "union_tag_invalid":
        allowed = [each.strip(" '") for each in str(context["expected_tags"]).split(",")]
        hint = did_you_mean(str(context["tag"]), allowed)
        return f"{key}: {str(context['tag'])!r} is unknown{hint}; allowed: {', '.join(map(repr, allowed))}"
    if item["type"] in WORDS:
        return WORDS[item["type"]]
    if item["type"] == "string_too_short":
        return "must not be empty" if context["min_length"] == 1 else f"must have {context['min_length']} characters"
    if item["type"] in ("too_short", "too_long"):
        many = context.get("min_length", context.get("max_length"))
        least = "least" if item["type"] == "too_short" else "most"
        return f"must have at {least} {many} {'entry' if many == 1 else 'entries'}, and has {context['actual_length']}"
    near = isinstance(item["input"], str) and item["type"] == "literal_error"
    hint = did_you_mean(item["input"], re.findall(r"'([^']*)'", str(item["msg"]))) if near else ""
    return str(item["msg"]).removeprefix("Value error, ").replace("Input should be", "must be") + hint


def flattened(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Nested settings as one level, with dotted names."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{above}{name}.")
        elif value is not None:
            found[f"{above}{name}"] = str(value)
    return found
