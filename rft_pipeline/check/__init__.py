"""What `rft check` looks at: everything about a campaign that can be known without a model, in one pass.

A finding that would fail or spoil a run is an error; one that only weakens it is a warning. All errors come in one
exception, a line each.
"""

from rft_pipeline.check.campaign import check_campaign
from rft_pipeline.check.result import CheckResult, CriterionSummary, LabelCounts

__all__ = ["CheckResult", "CriterionSummary", "LabelCounts", "check_campaign"]
