"""Supervised servers: they end with `rft ui`, with all that they started, and are started again when they die."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from rft_pipeline.errors import RftError
from rft_pipeline.servers import supervised

SERVES = """
import os, pathlib, subprocess, sys, time
print("serving", flush=True)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path("pids").write_text(f"{os.getpid()} {child.pid}")
time.sleep(60)
"""


def pids(folder: Path) -> list[int]:
    file = folder / "pids"
    for _ in range(400):
        if file.is_file() and len(found := file.read_text(encoding="utf-8").split()) == 2:
            return [int(each) for each in found]
        time.sleep(0.05)
    raise AssertionError("the server did not start")


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_ended(processes: list[int]) -> bool:
    for _ in range(200):
        if not any(map(is_alive, processes)):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_server_ends_with_all_that_it_started(tmp_path: Path) -> None:
    server = supervised.PageServer("Pages", ["-c", SERVES], os.environ, tmp_path, tmp_path / "pages.log")
    started = pids(tmp_path)
    assert all(map(is_alive, started))
    assert (tmp_path / "pages.log").read_text(encoding="utf-8") == "serving\n"
    supervised.stop([server])
    assert all_ended(started)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_server_that_dies_is_started_again_but_not_soon_after_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = supervised.PageServer("Pages", ["-c", SERVES], os.environ, tmp_path, tmp_path / "pages.log")
    first = pids(tmp_path)
    (tmp_path / "pids").unlink()
    os.kill(first[0], signal.SIGKILL)
    assert all_ended(first[:1])
    with pytest.raises(RftError, match=r"Pages ended with exit code -9; is its port in use\?[^\n]*pages.log:\nserving"):
        server.keep_running()
    monkeypatch.setattr(supervised, "SOON", 0.0)
    assert server.keep_running() == "Pages ended with exit code -9; started again"
    second = pids(tmp_path)
    assert second != first
    assert all_ended(first)
    supervised.stop([server])
    assert all_ended(second)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_server_that_lost_the_child_that_answers_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "LOOK", 0.0)
    log = tmp_path / "pages.log"
    server = supervised.PageServer("Pages", ["-c", SERVES], os.environ, tmp_path, log, through_child=True)
    first = pids(tmp_path)
    (tmp_path / "pids").unlink()
    os.kill(first[1], signal.SIGKILL)
    assert all_ended(first[1:])
    assert [server.keep_running() for _ in range(3)] == [None] * 3  # it may not have begun to answer
    monkeypatch.setattr(supervised, "SOON", 0.0)
    assert server.keep_running() is None
    assert server.keep_running() == "Pages lost the process that answers; started again"
    second = pids(tmp_path)
    assert all_ended(first)
    assert [server.keep_running() for _ in range(3)] == [None] * 3
    supervised.stop([server])
    assert all_ended(second)
