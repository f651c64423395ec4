"""Judges: one file a protocol, with its settings and its scoring.

To add a judge, write its file and import its settings here: the settings that this module imports are the protocols.
"""

from typing import TYPE_CHECKING, get_args

from rft_pipeline.judges.answers import own_object, own_word
from rft_pipeline.judges.base import Judge, Judged, Judgement, Status
from rft_pipeline.judges.binary import BinaryJudge as BinaryJudge
from rft_pipeline.judges.checklist import ChecklistJudge as ChecklistJudge
from rft_pipeline.judges.cloze import ClozeJudge as ClozeJudge
from rft_pipeline.judges.columns import with_columns
from rft_pipeline.judges.contrast import ContrastJudge as ContrastJudge
from rft_pipeline.judges.graded import GradedJudge as GradedJudge
from rft_pipeline.judges.listwise import ListwiseJudge as ListwiseJudge
from rft_pipeline.judges.pairwise import PairwiseJudge as PairwiseJudge
from rft_pipeline.judges.panel import PanelJudge as PanelJudge
from rft_pipeline.judges.python import PythonJudge as PythonJudge
from rft_pipeline.judges.recall import RecallJudge as RecallJudge
from rft_pipeline.judges.relevance import RelevanceJudge as RelevanceJudge
from rft_pipeline.judges.reward_model import RewardModelJudge as RewardModelJudge
from rft_pipeline.judges.rule import RuleJudge as RuleJudge
from rft_pipeline.judges.settings import DEFAULT_JUDGE, Engines, JudgeSettings, ModelJudge, Scores
from rft_pipeline.judges.squash import Squash, question_in, squashed
from rft_pipeline.judges.untrusted import fenced
from rft_pipeline.judges.word_order import WordOrderJudge as WordOrderJudge
from rft_pipeline.strict import tagged_union

__all__ = [
    "DEFAULT_JUDGE",
    "PROTOCOLS",
    "AnyJudge",
    "Engines",
    "Judge",
    "JudgeSettings",
    "Judged",
    "Judgement",
    "ModelJudge",
    "Scores",
    "Squash",
    "Status",
    "fenced",
    "make_judge",
    "own_object",
    "own_word",
    "question_in",
    "squashed",
]

PROTOCOLS: dict[str, type[JudgeSettings]] = {
    name: each
    for each in list(globals().values())
    if isinstance(each, type) and issubclass(each, JudgeSettings)
    for name in get_args(each.model_fields["protocol"].annotation)
}
"""The settings of each protocol, by its name."""

PanelJudge.model_rebuild(
    _types_namespace={
        "SingleJudge": tagged_union(
            (each for each in PROTOCOLS.values() if each not in (PanelJudge, ChecklistJudge)), "protocol"
        )
    }
)

if TYPE_CHECKING:
    AnyJudge = JudgeSettings
else:
    AnyJudge = tagged_union(PROTOCOLS.values(), "protocol")


def make_judge(config: JudgeSettings, engines: Engines) -> Judge:
    """The judge of these settings.

    Raises `ConfigError` when the model cannot serve the protocol, `ModelError` when it cannot be loaded.
    """
    return with_columns(config.make(engines), config.shown_columns)
