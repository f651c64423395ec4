"""Judges: one file a protocol. A judge is its config, and an engine when a model decides."""

from rft_pipeline.engines import Scorer
from rft_pipeline.judges.base import Judge, Judgement, Status
from rft_pipeline.judges.binary import Binary
from rft_pipeline.judges.cloze import Cloze
from rft_pipeline.judges.contrast import Contrast
from rft_pipeline.judges.relevance import Relevance
from rft_pipeline.judges.rule import Rule
from rft_pipeline.rubric import BinaryJudge, ClozeJudge, ContrastJudge, ModelJudge, RelevanceJudge

__all__ = ["Judge", "Judgement", "Rule", "Status", "model_judge"]


def model_judge(config: ModelJudge, engine: Scorer) -> Judge:
    """The judge of a protocol that asks a model. Raises `ConfigError` when the model cannot serve it."""
    match config:
        case ContrastJudge():
            return Contrast(config, engine)
        case RelevanceJudge():
            return Relevance(config, engine)
        case ClozeJudge():
            return Cloze(config, engine)
        case BinaryJudge():
            return Binary(config, engine)
