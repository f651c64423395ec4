"""Reads prompts from files into tables, and checks each row.

A prompt's id is the fingerprint of its messages: a reworded prompt is another prompt with rollouts of its own. The id
in the file only names the row for people.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from rft_pipeline.campaign import FILE_TYPES, ROW_FORMATS, Campaign, PromptSource
from rft_pipeline.errors import ConfigError, DataError
from rft_pipeline.fingerprint import canonical_json, fingerprint
from rft_pipeline.judges.checklist import RUBRIC, rubric_faults
from rft_pipeline.progress import counted
from rft_pipeline.prompts.formats import LAYOUTS, LOGGED_REPLY, Converted, Plain, convert, recognise
from rft_pipeline.prompts.formats.layouts import ASKED
from rft_pipeline.prompts.formats.turns import content_of
from rft_pipeline.prompts.rows import SHOWN, Row, file_rows, hub_rows, longest_column, refuse, shown
from rft_pipeline.prompts.slots import with_system
from rft_pipeline.strict import did_you_mean

ROLES = ("system", "user", "assistant")

PROMPTS = pl.Schema({"prompt_id": pl.String, "id": pl.String, "messages": pl.String, "fields": pl.String})
"""`messages` is a JSON list of {role, content}; the turn of a `policy.system` that was filled for the row also has
`from`. `fields` is a JSON object of the row's other columns."""


UNUSABLE = 0.5
"""Maximum share of the rows of logs and exports that may have no usable prompt."""


class UniquePrompts(NamedTuple):
    """Prompts without duplicates, and the number of duplicate rows that were removed."""

    rows: pl.DataFrame
    merged: int


def read_prompts(campaign: Campaign) -> UniquePrompts:
    """Both splits of a campaign: prompt_id, id, split (`train` or `eval`), messages, fields.

    `policy.system` is filled in where it has slots. Of rows with the same messages in one split, the first is kept.
    Raises what `read_source` and `with_system` raise.
    """
    found = []
    for split, source in (("train", campaign.prompts.train), ("eval", campaign.prompts.eval)):
        rows = read_source(source, campaign.folder)
        rows, merged = merge_duplicates(with_system(rows, campaign.policy.system, source_name(source, campaign.folder)))
        found.append((rows.with_columns(pl.lit(split).alias("split")), merged))
    rows = pl.concat([rows for rows, _ in found])
    return UniquePrompts(
        rows.select("prompt_id", "id", "split", "messages", "fields"), sum(merged for _, merged in found)
    )


def merge_duplicates(rows: pl.DataFrame) -> UniquePrompts:
    """Keep the first of all rows with the same prompt_id."""
    unique = rows.unique("prompt_id", keep="first", maintain_order=True)
    return UniquePrompts(unique, rows.height - unique.height)


class SourceRows(NamedTuple):
    """All rows of one source, in order, and how they were read."""

    rows: pl.DataFrame
    """The columns of `PROMPTS`."""
    numbers: list[int]
    """The place of each row in the source, counted from 1."""
    found: str
    """The format of the rows, replies and skipped rows, for people."""


def read_source(source: PromptSource, folder: Path) -> pl.DataFrame:
    """All rows of one source, in order, with the columns of `PROMPTS`; raises what `read_rows` raises."""
    return read_rows(source, folder).rows


def read_rows(source: PromptSource, folder: Path, *, rubrics: bool = False) -> SourceRows:
    """Read one source in the format that it names, or that its first rows have.

    `id` is the row's own, or `<file name>:<row>` if it has none. A prompt is a text or a list of messages, which is
    read up to the last user turn; a reply after it becomes a column. With `rubrics`, each row must have a rubric that a
    checklist judge can use. In exports and traces, up to `UNUSABLE` of the rows may have no usable prompt (none was
    logged, or tools took part in it); they are left out.

    Raises `ConfigError` for an unknown file type, `DataError` if the format of the rows is not clear, and with a line
    for each row that cannot be used.
    """
    where = source_name(source, folder)
    findings: list[str] = []
    every = _rows(source, folder / source.source, findings)
    rows = [row for row in every if source.file_type != "csv" or any(map(_is_given, row.values.values()))]
    if not rows and not findings:
        raise DataError(f"{where}: contains no rows; at least one prompt is needed")
    columns = list({name: None for row in rows for name in row.values})
    for ours, theirs in source.columns.items():
        if rows and theirs.partition(".")[0] not in columns and theirs not in columns:
            raise DataError(f"{where}: {_no_column(theirs, ours, rows)}")
    name = recognise(rows, where, source.row_format, source.columns)
    if rows and name is None:
        raise DataError(f"{where}: {_no_column('prompt', 'prompt', rows)}")
    converted = convert(rows, name or "prompts", source.columns)
    file = Path(source.source).name if source.file_type != "hub" else source.source
    prompts, numbers, unusable = [], [], list[str]()
    is_export = LAYOUTS[converted.row_format].reply_column == LOGGED_REPLY
    for each in converted.rows:
        place = f"{where}: {each.row.place}"
        try:
            prompts.append(_prompt(each, converted, file))
            numbers.append(each.row.number)
        except DataError as error:
            (unusable if is_export else findings).append(f"{place}: {error}")
            if is_export:
                continue
        faults = rubric_faults(each.fields.get(RUBRIC)) if rubrics else ()
        findings += [f"{place}: {fault}" for fault in faults]
    refuse(findings + (unusable if len(unusable) > UNUSABLE * len(converted.rows) else []))
    found = _found(converted, source, [each.removeprefix(f"{where}: ") for each in unusable], len(every) - len(rows))
    return SourceRows(pl.DataFrame(prompts, schema=PROMPTS, orient="row"), numbers, found)


def ids_given_twice(rows: Iterable[tuple[str, int]]) -> str:
    """The ids of several rows with the lines of these, from id and line (in a table, row) of each; empty if there are
    none."""
    places: dict[str, list[int]] = {}
    for name, number in rows:
        places.setdefault(name, []).append(number)
    doubled = [f"{name} (lines {', '.join(map(str, found))})" for name, found in places.items() if len(found) > 1]
    more = f" and {len(doubled) - SHOWN} more" if len(doubled) > SHOWN else ""
    return f"{', '.join(doubled[:SHOWN])}{more}"


def _is_given(cell: Any) -> bool:
    """Whether a cell of a CSV holds more than spaces."""
    return cell is not None and bool(cell.strip())


def _found(converted: Converted, source: PromptSource, unusable: list[str], empty: int) -> str:
    """`conversations of messages (OpenAI, TRL), recognised: 3 rows, 2 with a reply (column reference)`."""
    mapped = "columns mapped" if source.columns.keys() & {"prompt", "messages"} else "recognised"
    how = "format named" if source.row_format else mapped
    replies = sum(each.fields.get(converted.reply_column) is not None for each in converted.rows)
    parts = [f"{LAYOUTS[converted.row_format].title}, {how}: {counted(len(converted.rows), 'row')}"]
    parts += [f"{replies} with a reply (column {converted.reply_column})"] if replies else []
    parts += [f"{counted(len(converted.skipped), 'row')} of no model call skipped"] if converted.skipped else []
    parts += [f"{counted(empty, 'empty row')} left out"] if empty else []
    parts += (
        [f"{counted(len(unusable), 'row')} without a usable prompt left out (e.g. {unusable[0]})"] if unusable else []
    )
    return ", ".join(parts)


def _no_column(theirs: str, ours: str, rows: Sequence[Row]) -> str:
    columns = list({name: None for row in rows for name in row.values})
    likely = next((each for each in (*ASKED, "instruction") if each in columns), None)
    likely = likely or (longest_column(rows) if rows[0].values else "text")
    return (
        f"no column {theirs!r}{did_you_mean(theirs, columns)} for our {ours!r}; "
        f"it has: {', '.join(columns) or 'none'} (map names, e.g. {_mapped(ours, likely)})"
    )


def _mapped(ours: str, theirs: str) -> str:
    return f"`columns: {{{ours}: {theirs}}}`, or `--columns {ours}={theirs}` of rft new"


def content_hash(frame: pl.DataFrame) -> str:
    """Hash of a frame's rows in order, without the column `id`, which changes no result.

    It does not depend on the file's format, its key order, white space or blank lines.
    """
    return fingerprint(frame.drop("id", strict=False).to_dicts())


def source_name(source: PromptSource, folder: Path) -> str:
    """The name of a source in messages."""
    return f"hub data set {source.source}" if source.file_type == "hub" else str(folder / source.source)


def _rows(source: PromptSource, path: Path, findings: list[str]) -> list[Row]:
    if source.file_type == "hub":
        return hub_rows(source.source, source.split_or_train)
    if source.file_type not in FILE_TYPES:
        raise ConfigError(
            f"{path}: unknown file type {source.file_type!r}; allowed: {', '.join(FILE_TYPES)} (set `format` for the "
            f"source; {', '.join(ROW_FORMATS)} are read from JSON Lines)"
        )
    return file_rows(path, source.file_type, findings)


def _prompt(plain: Plain, converted: Converted, file: str) -> tuple[str, str, str, str]:
    lists = LAYOUTS[converted.row_format].lists
    if lists and plain.prompt is not None and not isinstance(plain.prompt, list):
        raise DataError(f"{converted.prompt_key}: must be a list of messages, is {shown(plain.prompt)}")
    messages = messages_of(plain.prompt, converted.prompt_key)
    name = name_of(plain.id, converted.id_key, f"{file}:{plain.row.number}")
    return fingerprint(messages), name, canonical(messages), canonical(plain.fields)


def messages_of(value: Any, key: str) -> list[dict[str, str]]:
    """The messages of a text or a list of messages, up to the last user turn, with role and content only.

    Later turns, e.g. tool calls, are not read here. Raises `DataError` naming the key.
    """
    if value is None:
        raise DataError(f"{key}: is missing")
    if isinstance(value, str):
        turns = [{"role": "user", "content": value}]
    elif isinstance(value, list):
        users = [i for i, turn in enumerate(value) if isinstance(turn, dict) and turn.get("role") == "user"]
        read = value[: users[-1] + 1] if users else value
        turns = [_turn(turn, f"{key}[{i}]") for i, turn in enumerate(read)]
        if not users:
            raise DataError(f"{key}: no user turn among its {len(turns)} messages")
    elif isinstance(value, dict):
        inside = f"{key}.{next(iter(value), 'text')}"
        raise DataError(
            f"{key}: an object with {', '.join(value) or 'no keys'}; name the prompt in it, e.g. "
            f"{_mapped('prompt', inside)}"
        )
    else:
        raise DataError(f"{key}: must be a text or a list of messages, is {shown(value)}")
    if not turns[-1]["content"].strip():
        raise DataError(f"{key}: is empty")
    return turns


def _turn(turn: Any, key: str) -> dict[str, str]:
    if not isinstance(turn, dict):
        raise DataError(f"{key}: must be an object with role and content, is {shown(turn)}")
    if turn.get("role") not in ROLES:
        raise DataError(f"{key}.role: must be one of {', '.join(ROLES)}, is {shown(turn.get('role'))}")
    return {"role": turn["role"], "content": text_in(content_of(turn), f"{key}.content")}


def text_in(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{key}: must be a text, is {shown(value)}")
    return value


def name_of(value: Any, key: str, place: str) -> str:
    """A row's own name, or its place (`<file>:<row>`) if it has none. Raises `DataError`."""
    if value is None:
        return place
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{key}: must be a text or a whole number, is {shown(value)}")
    if not str(value).strip():
        raise DataError(f"{key}: is empty; remove it to name the row {place}")
    return str(value)


def canonical(value: Any) -> str:
    """The canonical JSON of a row's data. Raises `DataError` for a value that JSON does not have."""
    try:
        return canonical_json(value)
    except (TypeError, ValueError) as error:
        raise DataError(str(error).removeprefix("$.")) from error
