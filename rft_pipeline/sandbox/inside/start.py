"""The start of a process in a sandbox: its settings, its limits, its role.

The settings come as one line of JSON on standard input; the process answers with the line "ready" before any code of
the reply runs. Roles: `solution` runs a reply and serves calls, `tests` runs the tests, `program` becomes a program
that reads standard input and writes standard output.
"""

import contextlib
import json
import os
import resource
from typing import Any

from rft_pipeline.sandbox.inside.peer import Channel
from rft_pipeline.sandbox.inside.solution import run as run_solution
from rft_pipeline.sandbox.inside.tests import run as run_tests

READY = b'"ready"\n'


def main() -> None:
    settings = _settings()
    if settings["uid"]:
        _drop_rights(settings["uid"])
    _limit(settings["rlimits"])
    if settings["role"] == "program":
        _become_program(settings)
    channel = Channel()
    channel.send("ready")
    (run_solution if settings["role"] == "solution" else run_tests)(channel, settings)


def _settings() -> dict[str, Any]:
    """Read byte by byte, so that what follows the line stays for the program."""
    line = bytearray()
    while not line.endswith(b"\n"):
        part = os.read(0, 1)
        if not part:
            os._exit(0)
        line += part
    found: dict[str, Any] = json.loads(line)
    return found


def _drop_rights(uid: int) -> None:
    """Root becomes a user of its own, whose processes can be counted; limits do not bind root."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _limit(rlimits: dict[str, int]) -> None:
    """For this process and all that follow. Where memory is short, the kernel ends these first."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    for name, most in rlimits.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (allowed, allowed))


def _become_program(settings: dict[str, Any]) -> None:
    with open(settings["file"], "w", encoding="utf-8") as file:
        file.write(settings["code"])
    os.write(1, READY)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        os.execvp(settings["command"][0], settings["command"])
    except OSError:
        os._exit(127)
