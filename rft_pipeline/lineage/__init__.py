"""Lineage: what was made from what, read from records and tables.

A record names the records it read (`upstream`) and their contents (`inputs`). Stages are skipped by content, so another
record of equal content would have given the same result; such a link is marked `equal content`. Nothing is computed
again and no model is loaded.
"""

from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.trace_criterion import CriterionTrace
from rft_pipeline.lineage.trace_record import RecordTrace
from rft_pipeline.lineage.trace_rows import PromptTrace, RolloutTrace

__all__ = ["CriterionTrace", "PromptTrace", "RecordTrace", "RolloutTrace", "trace"]
