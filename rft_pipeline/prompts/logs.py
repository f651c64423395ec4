"""Reads interaction logs as prompts: the messages up to the last user turn, with the row's other fields."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rft_pipeline.errors import ConfigError, DataError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.prompts.reading import canonical, messages_of, name_of
from rft_pipeline.prompts.rows import Row, csv_rows, jsonl_rows, parquet_rows, refuse, shown
from rft_pipeline.rules.values import yes_or_no

ENDINGS = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")
_OWN = ("id", "prompt", "messages")

UNUSABLE = 0.5
"""Maximum share of rows without a usable prompt."""
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

    @property
    def keys(self) -> tuple[str, str]:
        """Hashes of its messages and its id, by which a later opt-out is recognised."""
        return self.prompt_id, fingerprint(self.id)


class Logs(NamedTuple):
    """The contents of log files."""

    rows: list[Logged]
    unusable: list[str]
    """Place and reason of each row without a usable prompt."""


def log_files(folder: Path, logs: str) -> list[Path]:
    """The log files below a folder or glob that starts at the campaign's folder; empty if there are none yet.

    Hidden files and folders are left out unless `logs` names them: programs write to them before they rename them.
    Raises `ConfigError` for a file of a glob whose format is not known.
    """
    named = Path(logs)
    if (folder / named).is_dir():
        return [path for path in _visible(folder / named, "**/*") if path.name.endswith(ENDINGS)]
    root = Path(named.anchor) if named.is_absolute() else folder
    files = _visible(root, str(named.relative_to(named.anchor)))
    if unknown := [path for path in files if not path.name.endswith(ENDINGS)]:
        raise ConfigError(f"{unknown[0]}: schedule.retrain.logs: unknown format; allowed: {', '.join(ENDINGS)}")
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


def read_logs(files: list[Path], opt_out: str | None) -> Logs:
    """All rows of log files, in order. `opt_out` names the field that is true for rows that opt out of training.

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
    has_opt_out = opt_out is None
    for path in files:
        unread: list[str] = []
        for row in _rows(path, unread):
            has_opt_out = has_opt_out or opt_out in row.values
            try:
                opted_out = opt_out is not None and _is_true(row.values.get(opt_out), opt_out)
                name = name_of(row, "id", path.name)
            except DataError as error:
                findings.append(f"{path}: {row.place}: {_without_text(error)}")
                continue
            try:
                each = _logged(row, name, opt_out, opted_out)
            except DataError as error:
                if not opted_out:
                    unusable.append(f"{path}: {row.place}: {_without_text(error)}")
                    continue
                each = Logged(_NO_PROMPT, name, [], {}, True)
            logged.append(each)
            names.append(each.prompt_id if row.values.get("id") is None else each.id)
        findings += (f"{path}{_without_text(each.removeprefix(str(path)))}" for each in unread)
    too_many = len(unusable) > UNUSABLE * (len(unusable) + len(logged))
    refuse(findings + unusable if too_many else findings)
    if logged and not has_opt_out:
        raise DataError(
            f"{files[0].parent}: no row of the logs has the field {opt_out!r} that schedule.retrain.opt_out names; "
            "correct the name, or remove opt_out"
        )
    refusing = {
        key for each, name in zip(logged, names, strict=True) if each.opted_out for key in (each.prompt_id, name)
    }
    rows = [
        each._replace(opted_out=not refusing.isdisjoint((each.prompt_id, name)))
        for each, name in zip(logged, names, strict=True)
    ]
    return Logs(rows, unusable)


def _rows(path: Path, findings: list[str]) -> list[Row]:
    match path.name.removesuffix(".gz").rpartition(".")[2]:
        case "jsonl":
            return jsonl_rows(path, findings, growing=True)
        case "csv":
            return csv_rows(path, findings, growing=True)
        case _:
            return parquet_rows(path)


def _logged(row: Row, name: str, opt_out: str | None, opted_out: bool) -> Logged:
    key = "prompt" if row.values.get("messages") is None else "messages"
    value = row.values.get(key)
    if value is None:
        raise DataError("has neither messages nor prompt")
    if key == "messages" and not isinstance(value, list):
        raise DataError("messages: must be a list of messages; put a text into prompt")
    messages = messages_of(value, key)
    fields = {field: each for field, each in row.values.items() if field not in (*_OWN, opt_out)}
    canonical(fields)
    return Logged(fingerprint(messages), name, messages, fields, opted_out)


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
