"""What is wrong in a store, said so that somebody can act on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

REMOVE = "remove the folder and run again"
REMOVE_TABLE = "remove the table's folder: records keep their results, and later runs make the rows they need anew"

REMOVE_LABELS = (
    "restore the table's folder from a backup, or remove it and import the files that people filled in again: "
    "rft labels import"
)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was made."""

    level: Literal["error", "warning"]
    """A warning costs history or a recomputation, never a result in force."""
    folder: str
    """The record's or the table's, or where a pointer lies."""
    file: str
    what: str
    do: str


def error(folder: Path, file: str, what: str, do: str = REMOVE) -> Finding:
    return Finding("error", str(folder), file, what, do)


def warning(folder: Path, file: str, what: str, do: str) -> Finding:
    return Finding("warning", str(folder), file, what, do)
