"""Commands in fresh processes: their wall time and their peak memory."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from rft_pipeline.errors import Exit

ROOT = Path(__file__).resolve().parents[1]


class Ended(NamedTuple):
    """What a process printed, how long it took from start to end, and its peak resident memory."""

    output: dict[str, Any]
    seconds: float
    cpu_seconds: float
    megabytes: float


def fresh(*arguments: str, env: Mapping[str, str]) -> Ended:
    """Run Python on `arguments`, which must print one JSON object last. Raises `CalledProcessError`.

    The peak is never below this process's own size, which a child has until it begins: keep this one small.
    """
    command = [sys.executable, *arguments]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    peak = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return Ended(json.loads(printed[printed.index("{") :]), seconds, used.ru_utime + used.ru_stime, peak)


def rft_run(campaign: str, env: Mapping[str, str], stdout: int | IO[str] | None = None) -> None:
    """`rft run`; a last round that the alarms stopped counts as made. Raises `CalledProcessError`."""
    command = [sys.executable, "-m", "rft_pipeline.cli", "run", campaign]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, stdout=stdout, check=False)
    if done.returncode not in (Exit.OK, Exit.REFUSED):
        raise subprocess.CalledProcessError(done.returncode, command)
