"""A full disk, whoever notices it first: a stage, Delta's writer, or the databases of Dagster and MLflow."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rft_pipeline.errors import StoreError

WORDS = ("No space left on device", "database or disk is full")
"""How Delta's writer and SQLite say it: in words only."""

VAGUE = "disk I/O error"
"""What SQLite says when it cannot let its log grow, and of a broken disk too."""

NOTHING = 2**20
"""With fewer bytes free than this, the vague words mean a full disk."""


@contextmanager
def saying_so(what: str, root: Path) -> Iterator[None]:
    """Turn the many errors of a full disk into one that says what to do; `what` could not be finished."""
    try:
        yield
    except Exception as error:
        if _is_full(error, root):
            raise StoreError(message(what, root)) from error
        raise


def says_so(text: str, root: Path) -> bool:
    """Whether the text of an error does."""
    return any(words in text for words in WORDS) or (VAGUE in text and shutil.disk_usage(root).free < NOTHING)


def message(what: str, root: Path) -> str:
    return (
        f"{what}: no space left on the disk of {root}. Everything finished so far is kept: "
        "free some space (or move RFT_HOME) and run again; it goes on from there."
    )


def _is_full(error: Exception, root: Path) -> bool:
    """Whether anything in the chain of causes says so."""
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "errno", None) == errno.ENOSPC or says_so(str(cause), root):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
