"""The command line, ready to be called."""

import pytest

from tests.cli.small import Rft


@pytest.fixture
def rft(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Rft:
    return Rft(monkeypatch, capfd)
