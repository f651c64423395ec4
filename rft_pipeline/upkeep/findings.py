"""Findings of `rft verify`: what is wrong, and what to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

REMOVE = "remove the folder and run again"
REMOVE_TABLE = "remove the table's folder: records keep their results, and later runs make the rows they need again"

REMOVE_LABELS = (
    "restore the table's folder from a backup, or remove it and import the files that people filled in again: "
    "rft labels import"
)
FROM_BACKUP = "restore the file from a backup: what people said cannot be used without it"
IMPORT_AGAIN = "import the file that people filled in again: rft labels import"


@dataclass(frozen=True)
class StoreFinding:
    """One missing or changed part of a store."""

    level: Literal["error", "warning"]
    """A warning may cost history or a recomputation, but no current result."""
    folder: str
    """The folder of the record, table or pointer."""
    file: str
    what: str
    do: str


def error(folder: Path, file: str, what: str, do: str = REMOVE) -> StoreFinding:
    return StoreFinding("error", str(folder), file, what, do)


def warning(folder: Path, file: str, what: str, do: str) -> StoreFinding:
    return StoreFinding("warning", str(folder), file, what, do)
