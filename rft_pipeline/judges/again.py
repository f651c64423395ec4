"""A judge that is asked the same a second time: with other seeds, and groups shown in the opposite order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rft_pipeline.engines import Asker, ChatReply, ChatRequest, Rewarder, Scorer
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.judges import Engines, Judge, make_judge
from rft_pipeline.judges.comparing import Comparing
from rft_pipeline.judges.protocols import Single


def make_judge_again(config: Single, engines: Engines) -> Judge:
    """What `make_judge` makes, to be asked a second time; raises what that raises."""
    judge = make_judge(config, _SecondTime(engines))
    if isinstance(judge, Comparing):
        judge.turned = True
    return judge


@dataclass(frozen=True)
class _OtherSeeds:
    asker: Asker

    @property
    def control_tokens(self) -> frozenset[str]:
        return self.asker.control_tokens

    def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        return self.asker.ask([replace(each, seed=seed_of(each.seed, "again") % 2**31) for each in requests])


@dataclass(frozen=True)
class _SecondTime:
    engines: Engines

    def scorer(self, by: str) -> Scorer:
        return self.engines.scorer(by)

    def asker(self, by: str) -> Asker:
        return _OtherSeeds(self.engines.asker(by))

    def rewarder(self, by: str) -> Rewarder:
        return self.engines.rewarder(by)
