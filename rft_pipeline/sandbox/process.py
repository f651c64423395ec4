"""A process in a sandbox: lines and bytes to and from it, each before a deadline; killed with all its children."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rft_pipeline.sandbox.inside.start import READY
from rft_pipeline.sandbox.settings import AnySandbox, Limits, OwnSandbox
from rft_pipeline.sandbox.starting import first_line, start, working_folder

TO_START = 60.0
"""Seconds in which a sandbox must have started."""
TO_STOP = 5.0
"""Seconds in which a container command must have stopped after SIGTERM."""
_PART = 2**16


class SandboxError(Exception):
    """The sandbox could not be started, or did not reach the reply's code."""


class EndedError(Exception):
    """A process ended, or broke a limit; the text says which."""

    def __init__(self, text: str, by_limit: bool = False, status: int | None = None) -> None:
        super().__init__(text)
        self.by_limit = by_limit
        self.status = status


@contextlib.contextmanager
def process(sandbox: AnySandbox, limits: Limits, settings: dict[str, Any]) -> Iterator["Process"]:
    """A process with these settings, killed with all its children at the end. Raises `SandboxError`."""
    with working_folder() as folder:
        try:
            started = Process(sandbox, limits, settings, Path(folder))
        except OSError as error:
            raise SandboxError(str(error)) from error
        try:
            yield started
        finally:
            started.kill()
            started.close()


class Process:
    """A started process. Deadlines are times of `time.monotonic`; after one, `TimeoutError` is raised."""

    def __init__(self, sandbox: AnySandbox, limits: Limits, settings: dict[str, Any], folder: Path) -> None:
        self.limits = limits
        self._own = isinstance(sandbox, OwnSandbox)
        self._settings = first_line(sandbox, limits, settings)
        self._process = start(sandbox, limits, folder)
        pipes = self._process.stdin, self._process.stdout, self._process.stderr
        self._in, self._out, self._err = (pipe.fileno() for pipe in pipes if pipe is not None)
        os.set_blocking(self._in, False)
        self._read = bytearray()

    def ready(self) -> None:
        """Give it its settings, and wait until it stands before the reply's code. Raises `SandboxError`."""
        deadline = time.monotonic() + TO_START
        try:
            self.send(self._settings, deadline)
            found = self.receive(deadline)
        except TimeoutError:
            raise SandboxError(f"it did not start within {TO_START:g} s") from None
        except EndedError as ended:
            self.kill()
            said = os.read(self._err, 500).decode(errors="replace").strip()
            raise SandboxError(said or f"its process {ended}") from None
        if found != READY:
            raise SandboxError(f"it wrote {found[:80]!r}; the command must pass standard input and output through")

    def send(self, data: bytes, deadline: float) -> None:
        while data:
            self._wait(False, True, deadline)
            try:
                data = data[os.write(self._in, data[:_PART]) :]
            except BrokenPipeError:
                raise self._end() from None

    def receive(self, deadline: float) -> bytes:
        """The next line. Raises `EndedError` when it is too long, or when the process ended without one."""
        while (end := self._read.find(b"\n")) < 0:
            self._wait(True, False, deadline)
            if not self._part():
                raise self._end()
        line = bytes(self._read[: end + 1])
        del self._read[: end + 1]
        return line

    def output(self, given: bytes, deadline: float) -> bytes:
        """All that the process writes when it reads `given`. Raises `EndedError` unless it ends with status 0."""
        assert self._process.stdin is not None
        while True:
            if not given:
                self._process.stdin.close()
            readable = self._wait(True, bool(given), deadline)
            if not readable:
                try:
                    given = given[os.write(self._in, given[:_PART]) :]
                except BrokenPipeError:  # a program need not read its input
                    given = b""
            elif not self._part():
                break
        if (end := self._end()).status == 0:
            return bytes(self._read)
        raise end

    def kill(self) -> None:
        """End it and its children; a container command is first asked to, so that its container ends too."""
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            if self._own and self._process.poll() is None:
                self._process.terminate()
                self._process.wait(TO_STOP)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _part(self) -> bool:
        """Read what there is; False at the end."""
        part = os.read(self._out, _PART)
        self._read += part
        if len(self._read) > self.limits.output_kb * 1024:
            raise EndedError(f"wrote more than {self.limits.output_kb} KiB at once (limits.output_kb)", by_limit=True)
        return bool(part)

    def _wait(self, read: bool, write: bool, deadline: float) -> bool:
        """Wait until it can be read from (True) or written to (False)."""
        poll = select.poll()
        if read:
            poll.register(self._out, select.POLLIN)
        if write:
            poll.register(self._in, select.POLLOUT)
        ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
        if not ready:
            raise TimeoutError
        return self._out in ready

    def _end(self) -> EndedError:
        """How the process ended, once it has closed its input or output."""
        try:
            return self._ended(self._process.wait(1.0))
        except subprocess.TimeoutExpired:
            return EndedError("closed its channel")

    def _ended(self, code: int) -> EndedError:
        number = -code if code < 0 else code - 128
        if number in (signal.SIGKILL, signal.SIGXCPU):
            text = f"was killed: more than {self.limits.cpu_seconds} s of CPU time, or no memory left"
            return EndedError(text, by_limit=True)
        if number in set(signal.Signals):
            return EndedError(f"was killed by {signal.Signals(number).name}")
        return EndedError(f"ended with status {code}", status=code)
