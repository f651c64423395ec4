"""Whether a round that a person promotes is worse than the champion, which an earlier decision on the same replies
chose over another policy."""

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.labels.preferences import current_preferences
from rft_pipeline.stats import means_by_prompt, paired_bounds
from rft_pipeline.store import Home, Record, RecordStore
from rft_pipeline.store.champions import Champion

ERROR = 0.025
"""Each bound of a 95 % interval is wrong with this probability."""


def why_worse(campaign: Campaign, home: Home, decided: Record, now: Champion, round_: int) -> str:
    """Why a round must not replace the champion, another round of the same eval report: its reward is surely lower,
    nothing compares the two, or people prefer the champion. Empty if nothing speaks against it."""
    report = RecordStore(home.store).at(decided.upstream["eval_reports"])
    if report is None:
        return "the eval report of both is gone, so nothing compares them"
    rows = pl.read_parquet(report.path("eval_reports.parquet"), columns=["prompt_id", "round", "reward"], glob=False)
    ours, theirs = (means_by_prompt(rows.filter(round=number), pl.col("reward")) for number in (round_, now.round))
    reward = paired_bounds(ours, theirs, ERROR)
    if not reward.lower95 <= reward.upper95:
        return "fewer than two prompts have scores of both, so nothing compares them"
    if reward.upper95 < 0:
        return (
            f"its held-out reward is lower: {reward.mean:+.4f} (95 % interval {reward.lower95:+.4f} to "
            f"{reward.upper95:+.4f})"
        )
    names = [f"round {round_}", f"round {now.round}"]
    for each in current_preferences(campaign, home).found:
        if sorted((each.policy, each.over)) == sorted(names) and each.decided >= campaign.promotion.min_decided_pairs:
            lost = each.share.upper95 < 0.5 if each.policy == names[0] else each.share.lower95 > 0.5
            if lost:
                return each.said
    return ""
