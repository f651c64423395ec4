"""Each signal ends `rft ui` and all that it started; small processes stand for its servers."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.test_supervised import SERVES, all_ended, is_alive, pids

SUPERVISES = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
from rft_pipeline.cli.ui import _supervise
from rft_pipeline.store import Home
_supervise(Home.find(), {"One": ["-c", sys.argv[1]], "Two": ["-c", sys.argv[2]]}, dict(os.environ))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_every_server_and_what_it_started(tmp_path: Path, how: signal.Signals) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    serve = []
    for folder in folders:
        folder.mkdir()
        serve.append(f"import os; os.chdir({str(folder)!r})\n{SERVES}")
    environment = {**os.environ, "RFT_HOME": str(tmp_path / "home"), "RFT_DATA": str(tmp_path / "data")}
    command = [sys.executable, "-c", SUPERVISES, *serve]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    started = [pid for folder in folders for pid in pids(folder)]
    assert all(map(is_alive, started))
    process.send_signal(how)
    said, _ = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "stopping\n")
    assert all_ended(started)
