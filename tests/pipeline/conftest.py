"""Fixtures of campaigns with an audit."""

from pathlib import Path

import pytest

from rft_pipeline.stages.judge_engines import JudgeEngines
from tests.judges.engines import Told
from tests.pipeline.audited import honest, write_audited


@pytest.fixture
def audited(tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_audited(tiny_campaign)
    judge = Told(honest)
    monkeypatch.setattr(JudgeEngines, "asker", lambda self, by: judge)
    return tiny_campaign
