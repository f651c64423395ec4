"""Processes that serve pages: started again when they end, and ended with all that they started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rft_pipeline.errors import RftError

SOON = 30.0
"""Seconds after its start in which a server that ends is not started again."""
PATIENCE = 10.0
"""Seconds that a server has to end by itself."""
LAST_LINES = 8
"""Lines of a log in the error of a server that could not start."""


def stop(servers: Sequence["Server"]) -> None:
    """End the servers, all at once, and all that they started."""
    for server in servers:
        server.end(signal.SIGTERM)
    for server in servers:
        server.wait()


class Server:
    """A process that serves a page, and all that it started. What they print replaces the file `log`."""

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
    ) -> None:
        self.name = name
        self.log = log
        self._command, self._environment, self._folder = [sys.executable, *arguments], dict(environment), folder
        log.write_bytes(b"")
        self._process, self._since = self._start(), time.monotonic()

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
        """Start the process again if it ended, and say so. Raises `RftError` if it ended soon after its start."""
        code = self._process.poll()
        if code is None:
            return None
        if time.monotonic() - self._since < SOON:
            raise RftError(f"{self.name} ended with exit code {code}; is its port in use? {self._last_words()}")
        self.end(signal.SIGKILL)
        self._process, self._since = self._start(), time.monotonic()
        return f"{self.name} ended with exit code {code}; started again"

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
