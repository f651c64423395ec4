"""Fixtures of campaigns with an audit, and of one that was made in generations."""

from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.stages.judge_engines import JudgeEngines
from tests.conftest import copy_root, made_once, new_home
from tests.judges.engines import Told
from tests.pipeline.audited import honest, write_audited
from tests.pipeline.bare import bare as bare
from tests.pipeline.continued import run_all
from tests.planted import replies_planted
from tests.runs import edit, run
from tests.tiny_campaign import write_campaign, write_on_policy


@pytest.fixture
def audited(tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_audited(tiny_campaign)
    judge = Told(honest)
    monkeypatch.setattr(JudgeEngines, "asker", lambda self, by: judge)
    return tiny_campaign


@pytest.fixture(scope="module")
def audited_once(tiny_model: Path, empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data and the home of `audited_made`, only to be copied."""
    root = tmp_path_factory.mktemp("audited_once")
    folder = write_campaign(root, tiny_model)
    write_audited(folder)
    with new_home(root, empty_mlflow) as monkeypatch:
        monkeypatch.setattr(JudgeEngines, "asker", lambda self, by: Told(honest))
        run(folder)
    return root


@pytest.fixture
def audited_made(audited_once: Path, audited: Path) -> Path:
    """The audited campaign, all of it made."""
    copy_root(audited_once, audited)
    return audited


@pytest.fixture(scope="session")
def trained_once(tiny_model: Path, empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data and the home of `trained`, only to be copied."""

    def make(folder: Path) -> None:
        campaign = write_on_policy(folder, tiny_model)
        edit(campaign / "campaign.yaml", "rounds", 1)
        edit(campaign / "campaign.yaml", "training.learning_rate", 1e-5)  # stored rollouts stay near the policy
        with new_home(folder, empty_mlflow), replies_planted(tiny_model):
            run_all(load_campaign(campaign))

    return made_once("trained_in_generations", tmp_path_factory, make)


@pytest.fixture
def trained(trained_once: Path, tiny_campaign: Path) -> Path:
    """The tiny campaign in generations with one round, all of it made; its round 1 is the champion."""
    copy_root(trained_once, tiny_campaign)
    return tiny_campaign
