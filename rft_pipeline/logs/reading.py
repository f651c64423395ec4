"""Interaction logs as prompts: what people asked, up to their last turn, with the row's further fields."""

from pathlib import Path
from typing import Any, NamedTuple

from rft_pipeline.errors import ConfigError, DataError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.rows import Row, csv_rows, jsonl_rows, parquet_rows, refuse, shown
from rft_pipeline.stages.prompts import messages_of, name_of

ENDINGS = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")
_TEXTS = ("id", "prompt", "messages")


class Logged(NamedTuple):
    """One row of the logs."""

    prompt_id: str
    """Fingerprint of its messages as they were logged: the same text is the same prompt, in whatever file it stands."""
    id: str
    messages: list[dict[str, str]]
    fields: dict[str, Any]
    opted_out: bool

    @property
    def keys(self) -> tuple[str, str]:
        """Hashes by which a later opt-out is recognised: of its messages and of its id."""
        return self.prompt_id, fingerprint(self.id)


def log_files(folder: Path, logs: str) -> list[Path]:
    """The files that `logs` names, a folder or a glob beside campaign.yaml; none when nothing is there yet.

    Hidden files and folders are left out: somebody writes them, to be renamed. Raises `ConfigError` for a file of a glob whose
    format is not known.
    """
    named = Path(logs)
    if (folder / named).is_dir():
        return [path for path in _visible(folder / named, "**/*") if path.name.endswith(ENDINGS)]
    root = Path(named.anchor) if named.is_absolute() else folder
    files = _visible(root, str(named.relative_to(named.anchor)))
    if unknown := [path for path in files if not path.name.endswith(ENDINGS)]:
        raise ConfigError(f"{unknown[0]}: schedule.retrain.logs: not read; allowed are {', '.join(ENDINGS)}")
    return files


def unread_files(folder: Path, logs: str) -> list[Path]:
    """Where `logs` names a folder, the files in it whose format is not known."""
    there = _visible(folder / logs, "**/*") if (folder / logs).is_dir() else []
    return [path for path in there if not path.name.endswith(ENDINGS)]


def _visible(root: Path, pattern: str) -> list[Path]:
    return sorted(path for path in root.glob(pattern) if path.is_file() and not _is_hidden(path.relative_to(root)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") and part != ".." for part in path.parts)


def read_logs(files: list[Path], opt_out: str | None) -> list[Logged]:
    """All rows of log files, in order. `opt_out` names the field that is true where nobody may train on a row.

    A row that opts out takes with it all rows of the same id or the same messages: a log that only grows says so in a
    later row.

    Raises `DataError` with a line for each row that cannot be used, naming file, row and key, and when no row has the
    opt-out field: a name that is misspelled would let everything through.
    """
    findings: list[str] = []
    logged: list[Logged] = []
    names: list[str] = []
    has_opt_out = opt_out is None
    for path in files:
        for row in _rows(path, findings):
            has_opt_out = has_opt_out or opt_out in row.values
            try:
                each = _logged(row, path.name, opt_out)
                logged.append(each)
                names.append(each.prompt_id if row.values.get("id") is None else each.id)
            except DataError as error:
                findings.append(f"{path}: {row.place}: {error}")
    refuse(findings)
    if logged and not has_opt_out:
        raise DataError(
            f"{files[0].parent}: no row of the logs has the field {opt_out!r} that schedule.retrain.opt_out names; "
            "correct the name, or leave opt_out away"
        )
    refusing = {
        key for each, name in zip(logged, names, strict=True) if each.opted_out for key in (each.prompt_id, name)
    }
    return [
        each._replace(opted_out=not refusing.isdisjoint((each.prompt_id, name)))
        for each, name in zip(logged, names, strict=True)
    ]


def _rows(path: Path, findings: list[str]) -> list[Row]:
    match path.name.removesuffix(".gz").rpartition(".")[2]:
        case "jsonl":
            return jsonl_rows(path, findings, growing=True)
        case "csv":
            return csv_rows(path, findings, _TEXTS, growing=True)
        case _:
            return parquet_rows(path)


def _logged(row: Row, file: str, opt_out: str | None) -> Logged:
    key = "prompt" if row.values.get("messages") is None else "messages"
    value = row.values.get(key)
    if value is None:
        raise DataError("has neither messages nor prompt")
    if key == "messages" and not isinstance(value, list):
        raise DataError(f"messages: must be a list of messages, is {shown(value)}; a text goes into prompt")
    messages = messages_of(value, key)
    fields = {name: each for name, each in row.values.items() if name not in (*_TEXTS, opt_out)}
    left_out = opt_out is not None and _is_true(row.values.get(opt_out), opt_out)
    return Logged(fingerprint(messages), name_of(row, "id", file), messages, fields, left_out)


def _is_true(value: Any, key: str) -> bool:
    """Null and an absent field are false."""
    if value is None or (isinstance(value, bool | int) and value in (0, 1)):
        return bool(value)
    raise DataError(f"{key}: must be true, false or null, is {shown(value)}")
