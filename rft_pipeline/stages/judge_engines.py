"""The engines of a campaign's judges, each loaded on first use."""

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from rft_pipeline import models
from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import judge_source, with_answer_settings
from rft_pipeline.engines import Asker, Rewarder, Scorer, load
from rft_pipeline.engines.system_turn import SystemInUserTurn


class JudgeEngines:
    """`judges.Engines` of one campaign; `fetched` is the folder of fetched models.

    `sources` holds the hashes under which judgements are stored, by the judge's name as a source. A model that differs
    from its hash when it is loaded is refused: its judgements would be stored under the wrong hash. Several threads may
    take askers behind servers at once; models are loaded by one thread.
    """

    def __init__(self, campaign: Campaign, fetched: Path, sources: Mapping[str, str]) -> None:
        self.campaign = campaign
        self.fetched = fetched
        self.sources = sources
        self.loaded: dict[tuple[str, str], Any] = {}
        self._servers = Lock()

    def scorer(self, by: str) -> Scorer:
        scorer: Scorer = self._shown(by, self._weights(by))
        return scorer

    def asker(self, by: str) -> Asker:
        judge, key = self.campaign.all_judges[by], self.campaign.judge_key(by)
        if judge.server is None:
            engine = self._weights(by)
        else:
            server = judge.server
            with self._servers:
                engine = self._once("server", by, lambda: load.load_server(judge.model, server, key, judge))
        asker: Asker = self._shown(by, engine)
        return asker

    def rewarder(self, by: str) -> Rewarder:
        runtime = self.campaign.all_judges[by].runtime
        engine = self._once(
            "rewarder", by, lambda: self._unchanged(by, load.load_reward_model(self._folder(by), runtime))
        )
        rewarder: Rewarder = self._shown(by, engine)
        return rewarder

    def close(self) -> None:
        """Close all loaded engines."""
        for engine in list(self.loaded.values()):
            engine.close()
        self.loaded.clear()

    def _shown(self, by: str, engine: Any) -> Any:
        """The engine; it gets system texts in the user's turn if the campaign says so."""
        return SystemInUserTurn(engine) if self.campaign.all_judges[by].system_in == "user_turn" else engine

    def _weights(self, by: str) -> Any:
        runtime = self.campaign.all_judges[by].runtime
        return self._once("weights", by, lambda: self._unchanged(by, load.load_engine(self._folder(by), runtime)))

    def _once(self, kind: str, by: str, make: Callable[[], Any]) -> Any:
        if (kind, by) not in self.loaded:
            self.loaded[kind, by] = make()
        return self.loaded[kind, by]

    def _unchanged(self, by: str, engine: Any) -> Any:
        """The engine. If its weights are not those that were hashed, closes it and raises `ModelError`."""
        name, model = judge_source(by), self.campaign.all_judges[by].model
        try:
            now = with_answer_settings(
                self.campaign, {name: models.identify(model, self.fetched, self.campaign.folder)}
            )
            models.refuse_changed(model, self.sources[name], now[name])
        except BaseException:
            engine.close()
            raise
        return engine

    def _folder(self, by: str) -> Path:
        return models.resolve(self.campaign.all_judges[by].model, self.fetched, self.campaign.folder).folder
