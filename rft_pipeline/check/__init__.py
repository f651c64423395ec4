"""Check: everything about a campaign that can be checked without a model, for `rft check`.

A finding is an error if a run would fail or give a useless result, and a warning otherwise. One exception reports all
errors, one per line.
"""

from rft_pipeline.check.campaign import check_campaign
from rft_pipeline.check.result import CheckResult, LabelCounts

__all__ = ["CheckResult", "LabelCounts", "check_campaign"]
