"""The plan of a run: which stages would run, why, and how long they would take. Nothing is run."""

from rft_pipeline.pipeline.plan.first_round import Settled, settle
from rft_pipeline.pipeline.plan.node_plans import NodePlan
from rft_pipeline.pipeline.plan.reasons import Change, Waits, changes
from rft_pipeline.pipeline.plan.steps import Plan, Step, as_json, plan, without
from rft_pipeline.stages.counting import Rows

__all__ = [
    "Change",
    "NodePlan",
    "Plan",
    "Rows",
    "Settled",
    "Step",
    "Waits",
    "as_json",
    "changes",
    "plan",
    "settle",
    "without",
]
