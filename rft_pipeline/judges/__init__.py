"""Judges: one file a protocol. A judge is its config, and an engine when a model decides."""

from typing import Protocol

from rft_pipeline.engines import Asker, Rewarder, Scorer
from rft_pipeline.judges.base import Judge, Judged, Judgement, Status
from rft_pipeline.judges.binary import Binary
from rft_pipeline.judges.cloze import Cloze
from rft_pipeline.judges.contrast import Contrast
from rft_pipeline.judges.graded import Graded
from rft_pipeline.judges.listwise import Listwise
from rft_pipeline.judges.pairwise import Pairwise
from rft_pipeline.judges.protocols import (
    BinaryJudge,
    ClozeJudge,
    ContrastJudge,
    GradedJudge,
    ListwiseJudge,
    PairwiseJudge,
    PythonJudge,
    RelevanceJudge,
    RewardModelJudge,
    RuleJudge,
    Single,
)
from rft_pipeline.judges.python import Python
from rft_pipeline.judges.relevance import Relevance
from rft_pipeline.judges.reward_model import RewardModel
from rft_pipeline.judges.rule import Rule
from rft_pipeline.judges.untrusted import fenced
from rft_pipeline.judges.verdict import own_object, own_word

__all__ = ["Engines", "Judge", "Judged", "Judgement", "Status", "fenced", "make_judge", "own_object", "own_word"]


class Engines(Protocol):
    """The engines of a campaign's judges by the judge's name, loaded when they are first asked for."""

    def scorer(self, by: str) -> Scorer: ...

    def asker(self, by: str) -> Asker: ...

    def rewarder(self, by: str) -> Rewarder: ...


def make_judge(config: Single, engines: Engines) -> Judge:
    """The judge that these settings ask for.

    Raises `ConfigError` when the model cannot serve the protocol, `ModelError` when it cannot be loaded.
    """
    match config:
        case RuleJudge():
            return Rule(config)
        case ContrastJudge():
            return Contrast(config, engines.scorer(config.by))
        case RelevanceJudge():
            return Relevance(config, engines.scorer(config.by))
        case ClozeJudge():
            return Cloze(config, engines.scorer(config.by))
        case RewardModelJudge():
            return RewardModel(config, engines.rewarder(config.by))
        case BinaryJudge():
            return Binary(config, engines.asker(config.by))
        case GradedJudge():
            return Graded(config, engines.asker(config.by))
        case ListwiseJudge():
            return Listwise(config, engines.asker(config.by))
        case PairwiseJudge():
            return Pairwise(config, engines.asker(config.by))
        case PythonJudge():
            return Python(config, engines.asker(config.by))
