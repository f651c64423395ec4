"""Which scores a judge can give, as far as its settings tell."""

from rft_pipeline.campaign import Campaign
from rft_pipeline.judges.protocols import (
    AnyJudge,
    BinaryJudge,
    ClozeJudge,
    ContrastJudge,
    GradedJudge,
    PanelJudge,
    PythonJudge,
    RelevanceJudge,
    RewardModelJudge,
)


def reads_likelihoods(judge: AnyJudge, campaign: Campaign) -> bool:
    """Whether all its scores lie between 0 and 1. A served judge may give no log-probs: then it answers 0 or 1."""
    match judge:
        case ContrastJudge() | RelevanceJudge() | ClozeJudge() | RewardModelJudge():
            return True
        case BinaryJudge(answer="word", by=by) | GradedJudge(answer="word", by=by):
            return not campaign.used_judges[by].is_served
        case PanelJudge(members=members):
            return any(reads_likelihoods(member, campaign) for member in members)
        case _:
            return False


def may_say_0_or_1(judge: AnyJudge, campaign: Campaign) -> bool:
    """Whether all its scores may be 0 or 1, so that its errors are flips."""
    match judge:
        case BinaryJudge() | GradedJudge(grades=(_, _)):
            return not reads_likelihoods(judge, campaign)
        case _:
            return isinstance(judge, PythonJudge)
