"""Differences between two records of one stage, or between two rubrics on the same rollouts."""

from rft_pipeline.lineage.diff.naming import named
from rft_pipeline.lineage.diff.records import RecordDiff, compare_records
from rft_pipeline.lineage.diff.rubrics import RubricDiff, compare_rubrics
from rft_pipeline.lineage.diff.scores import Move, Mover, ScoreDiff, Shift

__all__ = [
    "Move",
    "Mover",
    "RecordDiff",
    "RubricDiff",
    "ScoreDiff",
    "Shift",
    "compare_records",
    "compare_rubrics",
    "named",
]
