"""What a user configures: `campaign.yaml` and `rubric.yaml` as frozen models.

Each model separates identity from runtime. Identity settings change the result and enter fingerprints; settings in a
`runtime` block (batch sizes, devices, threads) never do.
"""

from rft_pipeline.campaign.alarms import Alarms
from rft_pipeline.campaign.audit import Audit, Bias
from rft_pipeline.campaign.campaign import Campaign
from rft_pipeline.campaign.files import load_campaign, load_rubric, read_yaml, replace_rubric, with_rubric
from rft_pipeline.campaign.promotion_bounds import Promotion
from rft_pipeline.campaign.prompts import (
    FILE_TYPES,
    ROW_FORMATS,
    Evaluation,
    Prompts,
    PromptSource,
    Rollouts,
    RowFormat,
)
from rft_pipeline.campaign.running import (
    Checks,
    Feedback,
    InteractionLogs,
    PersonalData,
    Prices,
    Retrain,
    Schedule,
)
from rft_pipeline.campaign.serving import JudgeModel, Policy, Served
from rft_pipeline.engines.settings import Answering, EngineRuntime, Sampling, Server, SystemIn, Thinking, TokenPrices
from rft_pipeline.rewards.settings import Reward
from rft_pipeline.trainers.settings import ALL_LINEAR, Lora, Training, TrainRuntime

__all__ = [
    "ALL_LINEAR",
    "FILE_TYPES",
    "ROW_FORMATS",
    "Alarms",
    "Answering",
    "Audit",
    "Bias",
    "Campaign",
    "Checks",
    "EngineRuntime",
    "Evaluation",
    "Feedback",
    "InteractionLogs",
    "JudgeModel",
    "Lora",
    "PersonalData",
    "Policy",
    "Prices",
    "Promotion",
    "PromptSource",
    "Prompts",
    "Retrain",
    "Reward",
    "Rollouts",
    "RowFormat",
    "Sampling",
    "Schedule",
    "Served",
    "Server",
    "SystemIn",
    "Thinking",
    "TokenPrices",
    "TrainRuntime",
    "Training",
    "load_campaign",
    "load_rubric",
    "read_yaml",
    "replace_rubric",
    "with_rubric",
]
