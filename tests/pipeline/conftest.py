"""Fixtures of campaigns with an audit, and of one that was made in generations."""

from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.stages.judge_engines import JudgeEngines
from tests.conftest import copy_root, made_once
from tests.judges.engines import Told
from tests.pipeline.audited import honest, write_audited
from tests.pipeline.continued import run_all
from tests.planted import replies_planted
from tests.runs import edit
from tests.tiny_campaign import write_home, write_on_policy


@pytest.fixture
def audited(tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_audited(tiny_campaign)
    judge = Told(honest)
    monkeypatch.setattr(JudgeEngines, "asker", lambda self, by: judge)
    return tiny_campaign


@pytest.fixture(scope="session")
def trained_once(tiny_model: Path, empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data and the home of `trained`, only to be copied."""

    def make(folder: Path) -> None:
        campaign = write_on_policy(folder, tiny_model)
        edit(campaign / "campaign.yaml", "rounds", 1)
        edit(campaign / "campaign.yaml", "training.learning_rate", 1e-5)  # stored rollouts stay near the policy
        with pytest.MonkeyPatch.context() as monkeypatch, replies_planted(tiny_model):
            monkeypatch.setenv("RFT_HOME", write_home(folder / "home", empty_mlflow))
            monkeypatch.setenv("RFT_DATA", str(folder / "data"))
            monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
            run_all(load_campaign(campaign))

    return made_once("trained_in_generations", tmp_path_factory, make)


@pytest.fixture
def trained(trained_once: Path, tiny_campaign: Path) -> Path:
    """The tiny campaign in generations with one round, all of it made; its round 1 is the champion."""
    copy_root(trained_once, tiny_campaign)
    return tiny_campaign
