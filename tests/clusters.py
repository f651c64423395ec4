"""A running Ray cluster on this machine, for tests."""

import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

HEAD = {
    "port": "0",
    "min-worker-port": "0",
    "max-worker-port": "0",
    "dashboard-agent-listen-port": "0",
    "node-ip-address": "127.0.0.1",
    "num-cpus": "6",
    "object-store-memory": "80000000",
    "include-dashboard": "false",
    "include-log-monitor": "false",
    "system-config": json.dumps({"prestart_worker_first_driver": False}),
}


@contextmanager
def ray_cluster() -> Iterator[str]:
    """A cluster in processes of its own; yields its address. The variables that lead there are set in the environment.
    It starts no worker before one is asked for."""
    import ray
    from ray._private.authentication_test_utils import reset_auth_token_state

    with TemporaryDirectory(prefix="rft-ray-") as root:
        how = [f"--{name}={value}" for name, value in HEAD.items()]
        how.append(f"--ray-client-server-port={free_port()}")
        command = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--head",
            "--block",
            f"--temp-dir={root}",
            *how,
        ]
        variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex, "RAY_USAGE_STATS_ENABLED": "0"}
        with pytest.MonkeyPatch.context() as monkeypatch:
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            reset_auth_token_state()
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as head:
                try:
                    address = _address(head, Path(root, "ray_current_cluster"))
                    monkeypatch.setenv("RAY_ADDRESS", address)
                    yield address
                finally:
                    ray.shutdown()
                    head.terminate()


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _address(head: "subprocess.Popen[bytes]", file: Path) -> str:
    """What a cluster writes once it runs."""
    began = time.monotonic()
    while not (file.is_file() and (address := file.read_text(encoding="utf-8"))):
        assert head.poll() is None
        assert time.monotonic() - began < 120
        time.sleep(0.1)
    return address
