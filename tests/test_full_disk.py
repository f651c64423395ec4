"""A full disk is recognised in whatever words it comes."""

import errno
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from rft_pipeline.errors import StoreError
from rft_pipeline.full_disk import saying_so


class Usage(NamedTuple):
    free: int


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "any words"),
        RuntimeError("Generic LocalFileSystem error: No space left on device (os error 28)"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_a_full_disk_is_said_with_what_to_do(error: Exception, tmp_path: Path) -> None:
    words = f"tiny: no space left on the disk of {tmp_path}.*free some space"
    with pytest.raises(StoreError, match=words) as said, saying_so("tiny", tmp_path):
        raise ValueError("while that was handled") from error
    assert said.value.__cause__ is not None


@pytest.mark.parametrize(("free", "refused"), [(0, StoreError), (2**30, RuntimeError)])
def test_vague_words_mean_a_full_disk_when_it_is_full(
    free: int, refused: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free))
    with pytest.raises(refused), saying_so("tiny", tmp_path):
        raise RuntimeError("disk I/O error")


def test_other_errors_travel_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(KeyError), saying_so("tiny", tmp_path):
        raise KeyError("x")
