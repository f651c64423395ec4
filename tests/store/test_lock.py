"""A stage is made by one process at a time, which says who it is."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rft_pipeline.store.lock import held

HOLD = """
import sys
from pathlib import Path
from rft_pipeline.store.lock import held
with held(Path(sys.argv[1]), sys.argv[2], print):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the lock of `tmp_path` for the run 1a2b3c4d-… until it is given a line."""
    command = [sys.executable, "-c", HOLD, str(tmp_path), "1a2b3c4d-0000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_who_waits_is_told_who_holds_the_lock_and_since_when(
    tmp_path: Path, elsewhere: "subprocess.Popen[str]"
) -> None:
    said: list[str] = []

    def wait_for(whom: str) -> None:
        said.append(whom)
        if len(said) == 2:
            elsewhere.communicate("go on\n")

    with held(tmp_path, None, wait_for):
        pass
    holder = f"run 1a2b3c4d (process {elsewhere.pid} on {socket.gethostname()}), running since "
    assert len(said) == 2
    assert all(re.match(re.escape(holder) + r"\d{4}-\d\d-\d\d ", line) for line in said)
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


def test_a_killed_holder_is_not_waited_for(tmp_path: Path, elsewhere: "subprocess.Popen[str]") -> None:
    elsewhere.kill()
    elsewhere.wait()
    assert f'"pid": {elsewhere.pid}' in (tmp_path / ".holder.json").read_text()
    said: list[str] = []
    with held(tmp_path, None, said.append):
        assert f'"pid": {os.getpid()}' in (tmp_path / ".holder.json").read_text()
    assert said == []
