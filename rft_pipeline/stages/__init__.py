"""The pipeline: one file a stage holds its version, what it depends on, what it is made from, and how it runs."""

from rft_pipeline.stages.base import Node, Stage
from rft_pipeline.stages.checkpoints import Checkpoints
from rft_pipeline.stages.eval_reports import EvalReports
from rft_pipeline.stages.judge_audit import JudgeAudit
from rft_pipeline.stages.judge_scores import JudgeScores
from rft_pipeline.stages.labels import Labels
from rft_pipeline.stages.policy import Policy
from rft_pipeline.stages.promotion import Promotion
from rft_pipeline.stages.prompts import Prompts
from rft_pipeline.stages.reward_batches import RewardBatches
from rft_pipeline.stages.rollouts import Rollouts
from rft_pipeline.stages.rubric import Rubric
from rft_pipeline.stages.warm_start import WarmStart
from rft_pipeline.store import Record

__all__ = ["STAGES", "Node", "Stage", "stage_of"]

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Prompts(),
        Rubric(),
        Policy(),
        WarmStart(),
        Labels(),
        JudgeAudit(),
        Rollouts(),
        JudgeScores(),
        RewardBatches(),
        Checkpoints(),
        EvalReports(),
        Promotion(),
    )
}
"""All stages by name, each after those it depends on."""


def stage_of(record: Record) -> Stage:
    """The stage that made a record; one without rows if there is none of that name, e.g. because it was removed."""
    return STAGES.get(record.payload["stage"], Stage())
