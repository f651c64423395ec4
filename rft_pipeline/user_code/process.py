"""Runs a user's own code in a process of its own: an exit, a hang or a crash costs one call, not the pipeline.

The process has all rights of the user. It is no sandbox, and no place to run what a model wrote. Questions and answers
are JSON, a line each; a rollout arrives as an object with the attributes of `rft_pipeline.rules.Rollout`.
"""

import contextlib
import functools
import json
import os
import select
import signal
import subprocess
import sys
import threading
import weakref
from types import SimpleNamespace
from typing import Any

from pydantic_core import to_jsonable_python

from rft_pipeline.errors import ConfigError
from rft_pipeline.user_code.code import Code, load

TO_LOAD = 120.0
"""Seconds in which the code must be loaded."""
LONGEST = 500
"""Characters of an error."""


class UserCodeError(Exception):
    """The user's code raised an error, took too long, or ended its process."""


def code_process(code: Code, settings: dict[str, Any] | None, timeout: float) -> "CodeProcess":
    """The process of this code, the same one for the same arguments.

    With `settings`, the code is a class, and an object made with them has the hooks; without, it is a function.
    `timeout`: seconds for one call.
    """
    return _code_process(code, _written(settings), timeout)


class CodeProcess:
    """A process that runs the code; it is started with the first call, and again after a crash or a hang."""

    def __init__(self, code: Code, settings: Any, timeout: float) -> None:
        self._code, self._settings, self._timeout = code, settings, timeout
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def load(self) -> list[str]:
        """Start it; the names of the object's callable attributes. Raises `ConfigError` if it cannot be loaded."""
        with self._lock:
            return self._loaded()

    def score(self, hook: str | None, *args: Any, **kwargs: Any) -> tuple[float | None, str]:
        """Call the function, or a hook of the object: a score, or (score, reason). Raises what `messages` does."""
        score, reason = self._call("score", hook, *args, **kwargs)
        return score, reason

    def messages(self, hook: str, *args: Any) -> tuple[tuple[str, str], ...]:
        """Call a hook that returns (role, text) pairs. Raises `UserCodeError`, and `ConfigError` as `load` does."""
        return tuple((role, text) for role, text in self._call("messages", hook, *args))

    def _call(self, what: str, hook: str | None, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            if self._process is None:
                self._loaded()
            good, found = self._asked((what, hook, args, kwargs), self._timeout)
        if not good:
            raise UserCodeError(found)
        return found

    def _loaded(self) -> list[str]:
        if self._process is None:
            self._process = process = subprocess.Popen(
                [sys.executable, "-c", "from rft_pipeline.user_code.process import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            weakref.finalize(self, _end, process)
        try:
            good, found = self._asked((self._code.where, self._settings), TO_LOAD)
        except UserCodeError as error:
            raise ConfigError(f"{self._code.path}: cannot be loaded: {error}") from None
        if not good:
            self._stop()
            raise ConfigError(found)
        names: list[str] = found
        return names

    def _asked(self, question: Any, timeout: float) -> tuple[bool, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(_written(question).encode() + b"\n")
            process.stdin.flush()
            poll = select.poll()
            poll.register(process.stdout, select.POLLIN)
            if not poll.poll(timeout * 1000):
                raise UserCodeError(f"not finished within {timeout:g} s")
            good, found = json.loads(process.stdout.readline())
            return good, found
        except (BrokenPipeError, json.JSONDecodeError):
            code = process.wait()
            self._stop()
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            raise UserCodeError(f"its process {how}") from None
        except BaseException:  # a late answer must not be taken for that of the next call
            self._stop()
            raise

    def _stop(self) -> None:
        if self._process is not None:
            _end(self._process)
            self._process = None


@functools.lru_cache(maxsize=16)
def _code_process(code: Code, settings: str, timeout: float) -> CodeProcess:
    return CodeProcess(code, json.loads(settings), timeout)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


def serve() -> None:
    """The process: load the code, then answer calls until the other side closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the pipeline's own process decides
    reads, writes = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what the code prints is no answer
    target: Any = None
    try:
        for line in reads:
            question, good = json.loads(line), True
            found: Any
            try:
                if len(question) == 2:
                    target, found = _load(*question)
                else:
                    found = _called(target, *question)
            except BaseException as error:  # whatever the user's code raises, SystemExit too
                good, found = False, str(error) if isinstance(error, ConfigError) else _said(error)
            print(json.dumps((good, found)), file=writes)
    finally:
        os._exit(0)  # also where the code left a thread that never ends


def _load(where: tuple[str, str, str], settings: dict[str, Any] | None) -> tuple[Any, list[str]]:
    """The function, or the object made from the class; and the names of its callable attributes."""
    target = load(*where)
    if settings is not None:
        try:
            target = target(**settings)
        except BaseException as error:
            raise ConfigError(f"judge {where[0]}: settings {sorted(settings)}: {_said(error)}") from error
    return target, [name for name in dir(target) if callable(getattr(target, name, None))]


def _called(target: Any, what: str, hook: str | None, args: list[Any], kwargs: dict[str, Any]) -> Any:
    given = (SimpleNamespace(**each) if isinstance(each, dict) else each for each in args)
    found = (target if hook is None else getattr(target, hook))(*given, **kwargs)
    if what == "messages":
        return [(str(role), str(text)) for role, text in found]
    score, reason = found if isinstance(found, tuple) else (found, "")
    return None if score is None else float(score), str(reason)


def _written(value: Any) -> str:
    return json.dumps(value, default=to_jsonable_python)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:LONGEST]
