"""The command line as a user meets it: exit code, stdout and stderr."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest

from rft_pipeline.cli.app import main
from rft_pipeline.cli.outputs import output_schema
from rft_pipeline.errors import Exit
from rft_pipeline.runs import execute
from rft_pipeline.store import Home

ROOT = Path(__file__).parents[2]


class Said(NamedTuple):
    code: int
    out: str
    err: str


def started(*arguments: str) -> "subprocess.Popen[str]":
    """`rft` in a process of its own, which needs no installed script, and in a process group of its own."""
    command = [sys.executable, "-m", "rft_pipeline.cli", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def ended(process: "subprocess.Popen[str]") -> Said:
    """What it said, once it ends."""
    out, err = process.communicate()
    return Said(process.returncode, out, err)


def rft_process(*arguments: str) -> Said:
    """Run `rft` in a process of its own."""
    return ended(started(*arguments))


def printed(schema: str, said: Said) -> Any:
    """What a command printed with `--json`; it must fit the schema that `rft schema` prints for the command."""
    assert said.out, said.err
    found = json.loads(said.out)
    jsonschema.validate(found, output_schema(schema))
    return found


def execute_steps_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands execute Dagster's steps in this process, on the campaigns of the current home."""
    from dagster._core.definitions.reconstruct import ReconstructableJob

    import assets.definitions

    for cached in (ReconstructableJob.get_definition, ReconstructableJob.get_repository_definition):
        cached.cache_clear()  # another test's campaign of the same name
    monkeypatch.setattr(execute, "EACH_STEP_A_PROCESS", execute.ALL_IN_ONE_PROCESS)
    monkeypatch.setattr(assets.definitions, "defs", assets.definitions.definitions(Home.find()))
    monkeypatch.setattr(os, "environ", os.environ.copy())


class Rft:
    """Runs `rft` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch = monkeypatch
        self.capfd = capfd

    def __call__(self, *arguments: str) -> Said:
        self.monkeypatch.setattr(sys, "argv", ["rft", *arguments])
        self.capfd.readouterr()
        code: int | str | None = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        said = self.capfd.readouterr()
        assert isinstance(code, int | None)
        return Said(code or 0, said.out, said.err)


def assert_one_message(said: Said, *parts: str) -> None:
    """An error's exit code, nothing on stdout, and last on stderr one error without a traceback that holds `parts`."""
    assert said.code in (Exit.FAILED, Exit.BAD_INPUT, Exit.REFUSED)
    assert said.out == ""
    assert "Traceback" not in said.err
    lines = said.err.splitlines()
    (start,) = [number for number, line in enumerate(lines) if line.startswith("error ")]
    message = "\n".join(lines[start:])
    for part in parts:
        assert part in message
