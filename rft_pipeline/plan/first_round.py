"""Where a run begins after an edit of the rubric."""

from collections.abc import Mapping

from rft_pipeline.campaign import Campaign
from rft_pipeline.errors import ConfigError
from rft_pipeline.plan.decisions import decide
from rft_pipeline.store import RecordStore


def first_round(campaign: Campaign, records: RecordStore, sources: Mapping[str, str]) -> int:
    """The first round whose stages are to be made again where they differ; earlier rounds keep what they have.

    1, unless the rubric was edited and nothing else: then `on_rubric_change` decides. `last_round` keeps finished
    rounds before the last, `off` keeps all rounds (one more than there are), `all_rounds` none.
    """
    if campaign.on_rubric_change == "all_rounds":
        return 1
    start = campaign.rounds if campaign.on_rubric_change == "last_round" else campaign.rounds + 1
    kept = [decision for decision in decide(campaign, records, sources) if decision.node.round < start]
    only_the_rubric = all(decision.cause in (None, "rubric", "upstream") for decision in kept)
    edited = any(decision.cause == "rubric" and decision.node.round > 0 for decision in kept)
    return start if only_the_rubric and edited else 1


def check_start(campaign: Campaign, records: RecordStore, start: int) -> None:
    """Raise `ConfigError` unless the rounds before `start` are there to be kept."""
    if not 1 <= start <= campaign.rounds:
        raise ConfigError(f"round_{start}: {campaign.name} has rounds 1 to {campaign.rounds}")
    if start > 1 and records.current(f"{campaign.name}/round_{start - 1}/checkpoints") is None:
        raise ConfigError(
            f"round_{start} starts from {campaign.name}/round_{start - 1}/checkpoints, which was never made; "
            "start from an earlier round"
        )
