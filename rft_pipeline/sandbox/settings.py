"""Which sandbox, and what a program may use in it."""

from typing import Literal

from pydantic import Field

from rft_pipeline.strict import Strict

MIB = 2**20


class Limits(Strict):
    """What one reply may use. Memory, CPU time and open files count for each of its processes."""

    cpu_seconds: int = Field(default=5, ge=1)
    wall_seconds: float = Field(default=20.0, gt=0)
    """From the start of the reply's code to the last test; longer than `cpu_seconds`, since other work runs too."""
    memory_mb: int = Field(default=512, ge=32)
    processes: int = Field(default=8, ge=1)
    """Processes and threads at the same time."""
    open_files: int = Field(default=64, ge=16)
    disk_mb: int = Field(default=16, ge=1)
    """Size of the working folder, which is in memory."""
    output_kb: int = Field(default=256, ge=1)
    """The longest value that a function may return, as JSON, or the longest output of a program."""

    def rlimits(self, counts_processes: bool) -> dict[str, int]:
        """The limits of a process, by the names of Python's module `resource`."""
        found = {
            "RLIMIT_CPU": self.cpu_seconds,
            "RLIMIT_AS": self.memory_mb * MIB,
            "RLIMIT_FSIZE": self.disk_mb * MIB,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_CORE": 0,
            "RLIMIT_MSGQUEUE": 0,
            "RLIMIT_MEMLOCK": 0,
        }
        return {**found, "RLIMIT_NPROC": self.processes} if counts_processes else found


class OwnSandbox(Strict):
    """A container command of the user's own, e.g. `docker run --rm -i --network none --memory 1g python:3.11-slim`.

    `python3` is started in it, with standard input and output passed through.
    """

    command: tuple[str, ...] = Field(min_length=1)


AnySandbox = Literal["bubblewrap", "none"] | OwnSandbox
