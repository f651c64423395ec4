"""The engines behind a campaign's judges, each loaded when it is first asked for."""

from pathlib import Path
from typing import Any

from rft_pipeline import models
from rft_pipeline.campaign import Campaign
from rft_pipeline.engines import Asker, Rewarder, Scorer, load


class JudgeEngines:
    """`judges.Engines` of one campaign; `fetched` is where fetched models lie."""

    def __init__(self, campaign: Campaign, fetched: Path) -> None:
        self.campaign = campaign
        self.fetched = fetched
        self.loaded: dict[tuple[str, str], Any] = {}

    def scorer(self, by: str) -> Scorer:
        scorer: Scorer = self._weights(by)
        return scorer

    def asker(self, by: str) -> Asker:
        judge = self.campaign.all_judges[by]
        if judge.server is None:
            own: Asker = self._weights(by)
            return own
        if ("server", by) not in self.loaded:
            self.loaded["server", by] = load.load_server(judge.model, judge.server, self.campaign.judge_key(by))
        asker: Asker = self.loaded["server", by]
        return asker

    def rewarder(self, by: str) -> Rewarder:
        if ("rewarder", by) not in self.loaded:
            judge = self.campaign.all_judges[by]
            self.loaded["rewarder", by] = load.load_reward_model(self._folder(by), judge.runtime)
        rewarder: Rewarder = self.loaded["rewarder", by]
        return rewarder

    def close(self) -> None:
        """Close all that were loaded."""
        for engine in self.loaded.values():
            engine.close()
        self.loaded.clear()

    def _weights(self, by: str) -> Any:
        if ("weights", by) not in self.loaded:
            self.loaded["weights", by] = load.load_engine(self._folder(by), self.campaign.all_judges[by].runtime)
        return self.loaded["weights", by]

    def _folder(self, by: str) -> Path:
        return models.resolve(self.campaign.all_judges[by].model, self.fetched, self.campaign.folder).folder
