"""Interaction logs as prompts: what people asked, up to their last turn, with the row's further fields."""

from pathlib import Path
from typing import Any, NamedTuple

from rft_pipeline.errors import ConfigError, DataError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.rows import Row, csv_rows, jsonl_rows, parquet_rows, refuse, shown
from rft_pipeline.stages.prompts import messages_of, name_of

ENDINGS = (".jsonl", ".csv", ".parquet")
_TEXTS = ("id", "prompt", "messages")


class Logged(NamedTuple):
    """One row of the logs."""

    prompt_id: str
    """Fingerprint of its messages as they were logged: the same text is the same prompt, in whatever file it stands."""
    id: str
    messages: list[dict[str, str]]
    fields: dict[str, Any]
    opted_out: bool


def log_files(folder: Path, logs: str) -> list[Path]:
    """The files that `logs` names, a folder or a glob beside campaign.yaml; none when nothing is there yet.

    Raises `ConfigError` for a file whose format is not known.
    """
    anchored = folder / logs
    if anchored.is_dir():
        return sorted(path for path in anchored.rglob("*") if path.suffix in ENDINGS and path.is_file())
    root = Path(anchored.anchor)
    files = sorted(path for path in root.glob(str(anchored.relative_to(root))) if path.is_file())
    if unknown := [path for path in files if path.suffix not in ENDINGS]:
        raise ConfigError(f"{unknown[0]}: schedule.retrain.logs: not read; allowed are {', '.join(ENDINGS)}")
    return files


def read_logs(files: list[Path], opt_out: str | None) -> list[Logged]:
    """All rows of log files, in order. `opt_out` names the field that is true where nobody may train on a row.

    Raises `DataError` with a line for each row that cannot be used, naming file, row and key, and when no row has the
    opt-out field: a name that is misspelled would let everything through.
    """
    findings: list[str] = []
    logged = []
    has_opt_out = opt_out is None
    for path in files:
        for row in _rows(path, findings):
            has_opt_out = has_opt_out or opt_out in row.values
            try:
                logged.append(_logged(row, path.name, opt_out))
            except DataError as error:
                findings.append(f"{path}: {row.place}: {error}")
    refuse(findings)
    if logged and not has_opt_out:
        raise DataError(
            f"{files[0].parent}: no row of the logs has the field {opt_out!r} that schedule.retrain.opt_out names; "
            "correct the name, or leave opt_out away"
        )
    return logged


def _rows(path: Path, findings: list[str]) -> list[Row]:
    match path.suffix:
        case ".jsonl":
            return jsonl_rows(path, findings)
        case ".csv":
            return csv_rows(path, findings, _TEXTS)
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
