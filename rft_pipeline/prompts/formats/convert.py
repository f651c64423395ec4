"""Reads rows of a known format as rows of our own: id, prompt, and the other columns, with the logged reply in one."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from rft_pipeline.campaign import RowFormat
from rft_pipeline.judges.checklist import RUBRIC
from rft_pipeline.prompts.formats.layouts import ASKED, LAYOUTS, REPLIED, RowLayout
from rft_pipeline.prompts.formats.turns import conversation, decoded, key_of_text, reply_in
from rft_pipeline.prompts.formats.verifiers import traces
from rft_pipeline.prompts.rows import Row
from rft_pipeline.rules.base import REFERENCE


class Plain(NamedTuple):
    """One row of our own. Its id and prompt may be wrong; the reader of prompts refuses them."""

    row: Row
    """The row that it was read from."""
    id: Any
    prompt: Any
    """A text or a list of messages."""
    fields: dict[str, Any]
    """The other columns."""


class Converted(NamedTuple):
    """The rows of a file."""

    row_format: RowFormat
    rows: list[Plain]
    prompt_key: str
    """The prompt's column in the file, for messages."""
    id_key: str
    reply_column: str
    """Our column of the logged replies."""
    skipped: list[Plain]
    """Rows that are no model call, in a file that has model calls."""


def convert(
    rows: list[Row], name: RowFormat, columns: Mapping[str, str] | None = None, reply_column: str | None = None
) -> Converted:
    """Read `rows` in the format `name`.

    `columns` maps our `id`, `prompt` or `messages`, `reference` and `rubric` to columns of the file, or to keys inside
    them (`input.question`). Logged replies go into `reply_column` (default: the format's), unless a row has a value
    there.
    """
    layout, columns = LAYOUTS[name], columns or {}
    reply_column = reply_column or (REFERENCE if REFERENCE in columns else layout.reply_column)
    if name == "verifiers":
        rows = [row._replace(values=trace) for row in rows for trace in traces(row.values)]
    key, value = layout.only or ("", "")
    calls = {row.number for row in rows if row.values.get(key) == value}
    every = [_plain(row, layout, columns, reply_column) for row in rows]
    return Converted(
        row_format=name,
        rows=[each for each in every if each.row.number in calls] or every,
        prompt_key=columns.get("prompt") or columns.get("messages") or layout.prompt[0],
        id_key=columns.get("id", layout.ids[0]),
        reply_column=reply_column,
        skipped=[each for each in every if each.row.number not in calls] if calls else [],
    )


def _plain(row: Row, layout: RowLayout, columns: Mapping[str, str], reply_column: str) -> Plain:
    values = row.values
    prompt = columns.get("prompt") or columns.get("messages") or _first(values, layout.prompt)
    same = REFERENCE not in columns and layout.reply[:1] == layout.prompt[:1]
    reply = prompt if same else columns.get(REFERENCE) or _first(values, layout.reply)
    name = columns.get("id") or _first(values, layout.ids)

    asked = _asked(_at(values, prompt), prompt, layout, columns)
    if not same:
        answered = reply_in(conversation(_at(values, reply), REPLIED))
    else:
        answered = reply_in(asked) if isinstance(asked, list) else None
    read = {prompt, reply, name}
    whole = {each.partition(".")[0] for each in read} | set(layout.opened)
    fields = _opened(values, layout, read) | {key: value for key, value in values.items() if key not in whole}
    fields |= {key: reply_in(conversation(values[key], REPLIED)) for key in layout.texts if key in values}
    if answered is not None and fields.get(reply_column) is None:
        fields[reply_column] = answered
    if RUBRIC in columns:
        fields.pop(columns[RUBRIC], None)
        fields[RUBRIC] = _at(values, columns[RUBRIC])
    return Plain(row, _at(values, name), asked, fields)


def _asked(value: Any, column: str, layout: RowLayout, columns: Mapping[str, str]) -> Any:
    """The prompt: a text stays as it was written, unless the format has lists or objects in its column."""
    if isinstance(value, str) and not layout.lists and (not layout.opened or "prompt" in columns):
        return value if column == layout.prompt[0] or "prompt" in columns else None  # a text in `chosen` is a reply
    return conversation(value, ASKED, batches=bool(layout.opened))


def _opened(values: dict[str, Any], layout: RowLayout, read: set[str]) -> dict[str, Any]:
    """The keys of the objects in the columns `layout.opened`, without those that were `read`."""
    found: dict[str, Any] = {}
    for column in layout.opened:
        value = decoded(values.get(column))
        if isinstance(value, list) and all(
            isinstance(each, dict) and each.keys() == {"key", "value"} for each in value
        ):
            value = {each["key"]: each["value"] for each in value}  # a map in a Parquet file
        if not isinstance(value, dict) or "role" in value:
            continue
        taken = {each.partition(".")[2] for each in read if each.startswith(f"{column}.")}
        if column in read:
            taken.add(key_of_text(value, ASKED if column in layout.prompt else REPLIED) or "")
        found = {**{key: each for key, each in value.items() if key not in taken}, **found}
    return found


def _first(values: dict[str, Any], names: tuple[str, ...]) -> str:
    """The first of these columns that has a value; the first of all if none has."""
    return next((name for name in names if values.get(name) is not None), names[0])


def _at(values: dict[str, Any], name: str) -> Any:
    """The value of a column, or of a key inside its objects (`input.question`)."""
    if name in values or "." not in name:
        return values.get(name)
    found: Any = values
    for key in name.split("."):
        found = decoded(found)
        found = found.get(key) if isinstance(found, dict) else None
    return found
