"""Checks of models behind a server, without calling it."""

import os

from rft_pipeline.campaign import Campaign, Served
from rft_pipeline.check.result import Findings
from rft_pipeline.engines.settings import REASONING_TOKENS, reasons_by_name

FEW_TOKENS = 512
"""With a smaller budget, a model's reasoning often leaves no tokens for its answer."""


def check_served(campaign: Campaign, settings: Findings) -> None:
    """Warn of a policy that cannot be trained, a missing key, and budgets that reasoning may use up."""
    where = campaign.folder / "campaign.yaml"
    if campaign.policy.is_served:
        settings.warnings.append(
            f"{where}: policy.model: {campaign.policy.model} has no weights here to train; only the stages up to round "
            "1's reward_batches can run, and checkpoints will fail"
        )
    judges = {campaign.judge_key(name): judge for name, judge in campaign.used_judges.items()}
    for key, served in {"policy": campaign.policy, **judges}.items():
        variable = served.server.api_key_env if served.server else None
        if variable and not os.environ.get(variable):
            settings.warnings.append(f"{where}: {key}.server.api_key_env: {variable} is not set in this environment")
    budgets: dict[str, tuple[Served, int | None]] = {
        f"{key}.max_tokens": (judge, judge.max_tokens) for key, judge in judges.items()
    }
    budgets["rollouts.sampling.max_new_tokens"] = (campaign.policy, campaign.rollouts.sampling.budget)
    for key, (served, budget) in budgets.items():
        if served.is_served and reasons_by_name(served.model) and (budget is None or budget < FEW_TOKENS):
            settings.warnings.append(f"{where}: {key}: {served.model} reasons before it answers; {_of(budget)}")


def _of(budget: int | None) -> str:
    if budget is not None:
        return f"{budget} tokens may not be enough for reasoning and answer: allow {FEW_TOKENS} or more"
    return (
        f"an answer may take {REASONING_TOKENS} tokens more than its criterion sets: set max_tokens to the total "
        "limit, and reasoning_effort if the server supports it"
    )
