"""Runs a reply against tests: two processes that speak in turns, or a program with input and output."""

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from rft_pipeline.sandbox.process import EndedError, Process, SandboxError, process
from rft_pipeline.sandbox.settings import AnySandbox, Limits


class BrokenTestsError(Exception):
    """The tests themselves cannot be run."""


class SandboxResult(NamedTuple):
    """What the tests found."""

    passed: int
    reason: str
    """The first failure; empty if there is none."""


def run_tests(code: str, tests: Sequence[str], limits: Limits, sandbox: AnySandbox) -> SandboxResult:
    """Run Python tests against a reply's code, in order, in one pair of processes.

    Raises `SandboxError` if the sandbox fails, `BrokenTestsError` if the tests' process ends by its own fault.
    """
    with (
        process(sandbox, limits, {"role": "solution", "code": code}) as reply,
        process(sandbox, limits, {"role": "tests", "tests": list(tests)}) as judge,
    ):
        reply.ready()
        judge.ready()
        deadline = time.monotonic() + limits.wall_seconds
        results: list[tuple[bool, str]] = []
        try:
            end = _converse(reply, judge, results, deadline)
        except TimeoutError:
            end = f"test {len(results) + 1}: not finished within {limits.wall_seconds:g} s"
        failures = [message for good, message in results if not good]
        return SandboxResult(sum(good for good, _ in results), failures[0] if failures else end)


def _converse(reply: Process, judge: Process, results: list[tuple[bool, str]], deadline: float) -> str:
    """Carry lines between the two until the tests are done; the reason why they were not, else an empty text.

    The two speak in turns. A reply's process that writes out of turn answers its own later questions.
    """
    try:
        names = reply.receive(deadline)
    except EndedError as ended:
        return f"the code {ended}"
    if names.startswith(b'["broken"'):
        return str(json.loads(names)[1])
    judge.send(names, deadline)
    while True:
        try:
            line = judge.receive(deadline)
        except EndedError as ended:
            if ended.by_limit:
                return f"test {len(results) + 1}: its process {ended}"
            raise BrokenTestsError(f"the tests' own process {ended}") from ended
        if line.startswith(b'["test"'):
            good, message = json.loads(line)[1:]
            results.append((good, message))
        elif line.startswith(b'["done"'):
            return ""
        else:
            try:
                reply.send(line, deadline)
                answer = reply.receive(deadline)
            except EndedError as ended:
                answer = _line("gone", f"the code {ended}")
            judge.send(answer, deadline)


def run_program(
    code: str, file: str, command: Sequence[str], given: str, limits: Limits, sandbox: AnySandbox
) -> tuple[str | None, str]:
    """Write the code to `file`, run the command with `given` as standard input: its output, or None and the reason.

    Raises `SandboxError` if the sandbox fails.
    """
    settings = {"role": "program", "code": code, "file": file, "command": list(command)}
    with process(sandbox, limits, settings) as program:
        program.ready()
        try:
            output = program.output(given.encode(), time.monotonic() + limits.wall_seconds)
        except EndedError as ended:
            return None, f"the program {ended}"
        except TimeoutError:
            return None, f"not finished within {limits.wall_seconds:g} s"
        return output.decode(errors="replace"), ""


def _line(*message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


__all__ = ["BrokenTestsError", "SandboxError", "SandboxResult", "run_program", "run_tests"]
