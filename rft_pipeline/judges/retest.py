"""A judge that is asked a second time: with other seeds, and groups shown in the opposite order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rft_pipeline.engines import Asker, ChatReply, ChatRequest, Rewarder, Scorer
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.judges import Engines, Judge, JudgeSettings
from rft_pipeline.judges.columns import with_columns
from rft_pipeline.judges.comparing import Comparing


def make_retest_judge(config: JudgeSettings, engines: Engines) -> Judge:
    """The judge that `make_judge` makes, for asking a second time. Raises the same errors."""
    judge = config.make(_Reseeded(engines))
    if isinstance(judge, Comparing):
        judge.reversed = True
    return with_columns(judge, config.shown_columns)


@dataclass(frozen=True)
class _ReseededAsker:
    asker: Asker

    @property
    def control_tokens(self) -> frozenset[str]:
        return self.asker.control_tokens

    def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        return self.asker.ask([replace(each, seed=seed_of(each.seed, "retest") % 2**31) for each in requests])


@dataclass(frozen=True)
class _Reseeded:
    """The engines, with askers that draw from other seeds."""

    engines: Engines

    def scorer(self, by: str) -> Scorer:
        return self.engines.scorer(by)

    def asker(self, by: str) -> Asker:
        return _ReseededAsker(self.engines.asker(by))

    def rewarder(self, by: str) -> Rewarder:
        return self.engines.rewarder(by)
