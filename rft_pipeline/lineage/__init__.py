"""What came from what, from stored facts alone: records, their tables, and the Delta tables.

A record knows the records it was read from (`upstream`) and the content of each (`inputs`). Stages are skipped by
content, so another record of equal content would have given the same result: such a link is told apart as `equal
content`. Nothing is computed again and no model is loaded.
"""

from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.trace_criterion import CriterionTrace
from rft_pipeline.lineage.trace_record import RecordTrace
from rft_pipeline.lineage.trace_rows import PromptTrace, RolloutTrace

__all__ = ["CriterionTrace", "PromptTrace", "RecordTrace", "RolloutTrace", "trace"]
