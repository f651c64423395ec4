"""Reads interaction logs as prompts: the messages up to the last user turn, with the row's other fields."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from rft_pipeline.campaign import RowFormat
from rft_pipeline.errors import ConfigError, DataError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.prompts.formats import LAYOUTS, LOGGED_REPLY, Converted, Plain, convert, recognise
from rft_pipeline.prompts.reading import UNUSABLE, canonical, messages_of, name_of
from rft_pipeline.prompts.rows import Row, file_rows, refuse, shown
from rft_pipeline.rules.values import yes_or_no

ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz", ".parquet")

_NO_PROMPT = ""
"""The prompt_id of a row that only opts out."""


class Logged(NamedTuple):
    """One row of the logs."""

    prompt_id: str
    """Fingerprint of the messages as logged: the same text is the same prompt in every file."""
    id: str
    messages: list[dict[str, str]]
    fields: dict[str, Any]
    opted_out: bool
    place: str = ""
    """Its file and row."""
    row: Row | None = None
    """The row as it is in the file."""

    @property
    def keys(self) -> tuple[str, str]:
        """Hashes of its messages and its id, by which a later opt-out is recognised."""
        return self.prompt_id, fingerprint(self.id)


class Logs(NamedTuple):
    """The contents of log files."""

    rows: list[Logged]
    unusable: list[str]
    """Place and reason of each row without a usable prompt."""
    formats: list[str]
    """The formats of the files, for people."""


def log_files(folder: Path, logs: str, where: str = "schedule.retrain") -> list[Path]:
    """The log files below a folder or glob that starts at the campaign's folder; empty if there are none yet. `where`
    is the key of the settings, for messages.

    Hidden files and folders are left out unless `logs` names them: programs write to them before they rename them.
    Raises `ConfigError` for a file of a glob whose format is not known.
    """
    named = Path(logs)
    if (folder / named).is_dir():
        return [path for path in _visible(folder / named, "**/*") if path.name.endswith(ENDINGS)]
    root = Path(named.anchor) if named.is_absolute() else folder
    files = _visible(root, str(named.relative_to(named.anchor)))
    if unknown := [path for path in files if not path.name.endswith(ENDINGS)]:
        raise ConfigError(f"{unknown[0]}: {where}.logs: unknown format; allowed: {', '.join(ENDINGS)}")
    return files


def unread_files(folder: Path, logs: str) -> list[Path]:
    """If `logs` is a folder, the files in it whose format is not known."""
    files = _visible(folder / logs, "**/*") if (folder / logs).is_dir() else []
    return [path for path in files if not path.name.endswith(ENDINGS)]


def _visible(root: Path, pattern: str) -> list[Path]:
    named = Path(pattern).parts
    return sorted(path for path in root.glob(pattern) if path.is_file() and not _hidden(path.relative_to(root), named))


def _hidden(path: Path, named: Sequence[str]) -> bool:
    return any(part.startswith(".") and part not in named for part in path.parts)


def read_logs(
    files: list[Path],
    opt_out: str | None,
    named: RowFormat | None = None,
    columns: Mapping[str, str] = MappingProxyType({}),
    where: str = "schedule.retrain",
) -> Logs:
    """All rows of log files, in order.

    `opt_out` names the field that is true for rows that opt out, `named` the format of the rows, which is by default
    recognised for each file. `columns` maps our names to those of the file, see `formats.convert`; `where` is the
    key of the settings, for messages.

    An opt-out applies to all rows with the same id or the same messages: an append-only log opts out in a later row,
    which needs no text.

    Raises `DataError` with a line (file, row, key) for each row that cannot be read; if more than `UNUSABLE` of the
    rows have no usable prompt; and if no row has the opt-out field, because a misspelled name would ignore every
    opt-out. The message contains no text of the rows.
    """
    findings: list[str] = []
    unusable: list[str] = []
    logged: list[Logged] = []
    names: list[str] = []
    formats: dict[str, None] = {}
    has_opt_out = opt_out is None
    for path in files:
        unread: list[str] = []
        for converted in _converted(path, unread, named, columns):
            formats[LAYOUTS[converted.row_format].title] = None
            for place, plain in enumerate((*converted.rows, *converted.skipped)):
                has_opt_out = has_opt_out or opt_out in plain.fields
                try:
                    each = _logged(plain, converted, place < len(converted.rows), path.name, opt_out)
                except DataError as error:
                    findings.append(f"{path}: {plain.row.place}: {_without_text(error)}")
                    continue
                if isinstance(each, str):
                    unusable.append(f"{path}: {plain.row.place}: {each}")
                elif each is not None:
                    logged.append(each._replace(place=f"{path}: {plain.row.place}", row=plain.row))
                    names.append(each.prompt_id if plain.id is None else each.id)
        findings += (f"{path}{_without_text(each.removeprefix(str(path)))}" for each in unread)
    too_many = len(unusable) > UNUSABLE * (len(unusable) + len(logged))
    refuse(findings + unusable if too_many else findings)
    if logged and not has_opt_out:
        raise DataError(
            f"{files[0].parent}: no row of the logs has the field {opt_out!r} that {where}.opt_out names; "
            "correct the name, or remove opt_out"
        )
    refusing = {
        key for each, name in zip(logged, names, strict=True) if each.opted_out for key in (each.prompt_id, name)
    }
    rows = [
        each._replace(opted_out=not refusing.isdisjoint((each.prompt_id, name)))
        for each, name in zip(logged, names, strict=True)
    ]
    return Logs(rows, unusable, list(formats))


def _converted(path: Path, unread: list[str], named: RowFormat | None, columns: Mapping[str, str]) -> list[Converted]:
    """The rows of a file in their format. Rows with messages and rows with a prompt may be in one file."""
    rows = file_rows(path, path.name.removesuffix(".gz").rpartition(".")[2], unread, growing=True)
    own: tuple[RowFormat, RowFormat] = ("prompts", "messages")
    name = named or recognise(rows, str(path), columns=columns, among=[each for each in LAYOUTS if each not in own])
    if name is not None:
        return [convert(rows, name, columns, reply_column=LOGGED_REPLY)]
    formats = [own[row.values.get("messages") is not None] for row in rows]
    return [convert([row], each, columns, reply_column=LOGGED_REPLY) for row, each in zip(rows, formats, strict=True)]


def _logged(plain: Plain, converted: Converted, is_call: bool, file: str, opt_out: str | None) -> Logged | str | None:
    """The row; or why it has no usable prompt; None for a row that is no model call and does not opt out.

    Raises `DataError` for an opt-out or an id that cannot be read.
    """
    opted_out = opt_out is not None and _is_true(plain.fields.get(opt_out), opt_out)
    name = name_of(plain.id, converted.id_key, f"{file}:{plain.row.number}")
    if not is_call:
        return Logged(_NO_PROMPT, name, [], {}, True) if opted_out else None
    try:
        messages = _messages(plain.prompt, converted.prompt_key)
        fields = {field: each for field, each in plain.fields.items() if field != opt_out}
        canonical(fields)
    except DataError as error:
        return Logged(_NO_PROMPT, name, [], {}, True) if opted_out else _without_text(error)
    return Logged(fingerprint(messages), name, messages, fields, opted_out)


def _messages(prompt: Any, key: str) -> list[dict[str, str]]:
    if prompt is None and key == "prompt":
        raise DataError("has neither messages nor prompt")
    if key == "messages" and not isinstance(prompt, list):
        raise DataError("messages: must be a list of messages; put a text into prompt")
    return messages_of(prompt, key)


def _without_text(error: DataError | str) -> str:
    """An error without the value that it quotes, which may contain personal data."""
    return re.sub(", is .*", "", str(error), flags=re.DOTALL)


def _is_true(value: Any, key: str) -> bool:
    """Null and a missing field are false."""
    if value is None:
        return False
    decided = yes_or_no(value)
    if decided is not None:
        return decided
    raise DataError(f"{key}: must be true, false or null, is {shown(value)}")
