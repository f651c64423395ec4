"""A page in headless Chromium, driven by the DevTools protocol."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from websockets.sync.client import ClientConnection, connect

PATIENCE = 180.0
"""Seconds until something is there."""

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")


def until(find: Callable[[], Any]) -> Any:
    """What `find` returns, once that is true. Fails after `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while not (found := find()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.2)
    return found


class Page:
    """The only page of a browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._calls = connection, 0

    def open(self, address: str) -> None:
        self._call("Page.navigate", url=address)

    def value(self, script: str) -> Any:
        """What a script returns."""
        done = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return done["result"].get("value")

    def until(self, script: str) -> Any:
        """What a script returns, once that is true."""
        return until(lambda: self.value(script))

    def _call(self, method: str, **parameters: Any) -> Any:
        self._calls += 1
        self._connection.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._connection.recv(PATIENCE))
            if answer.get("id") == self._calls:
                return answer["result"]


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with an empty profile."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    process = subprocess.Popen(["chromium", *options, "about:blank"], stderr=subprocess.DEVNULL)
    try:
        active = profile / "DevToolsActivePort"
        port = until(lambda: active.is_file() and active.read_text(encoding="utf-8").split())[0]
        with urlopen(f"http://127.0.0.1:{port}/json") as answer:
            (page,) = [each for each in json.load(answer) if each["type"] == "page"]
        with connect(page["webSocketDebuggerUrl"], max_size=None) as connection:
            yield Page(connection)
    finally:
        process.terminate()
        process.wait()
