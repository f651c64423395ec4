"""A judge whose chat template refuses system turns reads their text in front of the user's."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.engines import ChatReply, ChatRequest, load
from rft_pipeline.engines.base import Messages
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.store import Home

ASKED: Messages = (("system", "Be strict."), ("user", "Is it kind?"))
FOLDED: Messages = (("user", "Be strict.\n\nIs it kind?"),)


class Recorder:
    """An engine of every kind that keeps the conversations it is shown."""

    context = 7

    def __init__(self) -> None:
        self.shown: list[Messages] = []

    def chat_tokens(self, messages: Messages) -> list[int]:
        self.shown.append(messages)
        return [1]

    def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        self.shown += [each.messages for each in requests]
        return iter(())

    def reward(self, conversations: Sequence[Messages]) -> list[float]:
        self.shown += conversations
        return [0.0]


def judged_by(folder: Path, **settings: Any) -> Campaign:
    path = folder / "campaign.yaml"
    campaign = yaml.safe_load(path.read_text(encoding="utf-8"))
    campaign["judge"] |= settings
    path.write_text(yaml.safe_dump(campaign), encoding="utf-8")
    return load_campaign(folder)


@pytest.mark.parametrize("system_in", ["own_turn", "user_turn"])
def test_every_kind_of_engine_is_shown_it_where_the_judge_says(
    tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch, system_in: str
) -> None:
    engine = Recorder()
    monkeypatch.setattr(load, "load_engine", lambda folder, runtime: engine)
    monkeypatch.setattr(load, "load_reward_model", lambda folder, runtime: engine)
    campaign = judged_by(tiny_campaign, system_in=system_in)
    sources = source_hashes(campaign, Home.find(), fetch=False)
    engines = JudgeEngines(campaign, tiny_campaign, sources)
    engines.scorer("judge").chat_tokens(ASKED)
    list(engines.asker("judge").ask([ChatRequest("1", ASKED, seed=1, max_tokens=1)]))
    engines.rewarder("judge").reward([ASKED])
    assert engine.shown == [ASKED if system_in == "own_turn" else FOLDED] * 3
    assert engines.scorer("judge").context == 7


def test_it_counts_as_another_judge(tiny_campaign: Path) -> None:
    home = Home.find()

    def judge(**settings: Any) -> str:
        return source_hashes(judged_by(tiny_campaign, **settings), home, fetch=False)["judge"]

    own, folded = judge(), judge(system_in="user_turn")
    assert own != folded
    assert judge(system_in="own_turn") == own
