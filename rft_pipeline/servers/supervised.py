"""Processes that serve pages: started again when they end, and ended with all that they started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from rft_pipeline.errors import RftError

SOON = 30.0
"""Seconds after its start in which a server that ends is not started again."""
PATIENCE = 10.0
"""Seconds that a server has to end by itself."""
LOOK = 2.0
"""Seconds between two looks at the child of a server that works through one."""
LAST_LINES = 8
"""Lines of a log in the error of a server that could not start."""


def stop(servers: Sequence["PageServer"]) -> None:
    """End the servers, all at once, and all that they started."""
    for server in servers:
        server.end(signal.SIGTERM)
    for server in servers:
        server.wait()


class PageServer:
    """A process that serves a page, and all that it started. What they print replaces the file `log`.

    With `through_child` it only passes on what a process that it starts answers, and does not end with that process.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        *,
        through_child: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        self._command, self._environment, self._folder = [sys.executable, *arguments], dict(environment), folder
        self._through_child = through_child
        log.write_bytes(b"")
        self._process, self._since = self._start(), time.monotonic()
        self._next_look, self._without_child = 0.0, 0

    def _start(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def keep_running(self) -> str | None:
        """Start the process again if it or the child that it needs ended, and say so. Raises `RftError` if it ended
        soon after its start."""
        code = self._process.poll()
        if code is None:
            return self._start_again("lost the process that answers") if self._has_lost_child() else None
        if time.monotonic() - self._since < SOON:
            raise RftError(f"{self.name} ended with exit code {code}; is its port in use? {self._last_words()}")
        return self._start_again(f"ended with exit code {code}")

    def _start_again(self, why: str) -> str:
        self.end(signal.SIGKILL)
        self._process.wait()
        self._process, self._since, self._without_child = self._start(), time.monotonic(), 0
        return f"{self.name} {why}; started again"

    def _has_lost_child(self) -> bool:
        """Whether the second look in a row finds no child that lives: one may be about to take another's place."""
        now = time.monotonic()
        if not self._through_child or now - self._since < SOON or now < self._next_look:
            return False
        self._next_look = now + LOOK
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._process.pid).children()
            lives = any(each.status() != psutil.STATUS_ZOMBIE for each in children)
            self._without_child = 0 if lives else self._without_child + 1
        return self._without_child > 1

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"The end of {self.log}:", *lines[-LAST_LINES:]])

    def wait(self) -> None:
        """Wait until the process has ended; kill it, and all that it started, after `PATIENCE`."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        self.end(signal.SIGKILL)
        self._process.wait()

    def end(self, how: signal.Signals) -> None:
        """Send a signal to the process and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, how)
