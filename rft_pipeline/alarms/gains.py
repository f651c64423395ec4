"""Is the gain real? The training judge's reward beside the score of a judge that trains nothing.

Every round is compared with base and with the round that it started from. Over-optimisation is reward up while the
held-out score is not (Gao et al. 2022, arXiv 2210.10760): both bounds must say so. A gain that the held-out judge
merely sees too little of, against its own spread, is only warned of.
"""

from collections.abc import Collection, Iterator

import numpy as np
import polars as pl

from rft_pipeline.alarms.findings import Finding, Level, repeated, spelled
from rft_pipeline.alarms.replies import Replies, agreement, change, does_not_rise, known, rises, spread
from rft_pipeline.audit import Resamples
from rft_pipeline.campaign import Alarms
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.stats import UNKNOWN, Interval

CREDITED = 0.5
"""The score from which a judge credits a reply."""


def over_optimisation(
    now: Replies, base: Replies, start: Replies, before: Collection[str], how: Alarms, seed: int
) -> Finding:
    """Reward up, held-out score not, against base or against the start; in two rounds running it stops."""
    fired, shown = False, None
    for then in {base.round: base, start.round: start}.values():
        reward = change(now, then, "reward", how.resamples, seed)
        held_out = change(now, then, "held_out", how.resamples, seed)
        fires = rises(reward) and does_not_rise(held_out)
        if shown is None or (fires and not fired):
            shown = (then, reward, held_out)
        fired = fired or fires
    assert shown is not None
    then, reward, held_out = shown
    level = repeated(fired, "over_optimisation", before)
    twice = ", and the alarm of this name fired in the round it started from too" if level is Level.STOP else ""
    sentence = (
        f"Over-optimisation: reward moved by {spelled(reward, 3)} against {_name(then)} while the held-out score moved "
        f"by {spelled(held_out, 3)}, where its upper bound must lie above 0{twice}."
    )
    return Finding("over_optimisation", level, held_out, 0.0, sentence)


def unseen_gain(now: Replies, base: Replies, how: Alarms, seed: int) -> Finding:
    """The part of the gain in reward that the held-out judge should see too, less what it sees, since base."""
    resamples = Resamples.draw(
        base.rows["prompt_id"].to_numpy(), how.resamples, seed_of(seed, "unseen gain", now.round)
    )
    share_R = agreement(base, resamples)
    gained_R = [_gain(now, base, column, resamples) / spread(base, column) for column in ("reward", "held_out")]
    reward, held_out = (resamples.interval(each) for each in gained_R)
    unseen = resamples.interval(share_R * gained_R[0] - gained_R[1])
    fires = reward.lower95 > how.min_effect and unseen.lower95 > 0
    share = "an unknown share of it" if np.isnan(share_R[0]) else f"{share_R[0]:.0%} as much"
    sentence = (
        f"Unseen gain: reward gained {spelled(reward)} of its standard deviations at base, the held-out score "
        f"{spelled(held_out)} of its own; as the two agreed at base it should have gained {share}."
    )
    return Finding("unseen_gain", Level.WARN if fires else Level.OK, unseen, 0.0, sentence)


def _gain(now: Replies, base: Replies, column: str, resamples: Resamples) -> np.ndarray:
    """Mean now minus then over the prompts that both have, by resample of base's rows; NaN where nothing is scored."""
    mine, theirs = now.means[column], base.means[column]
    change_K = np.array(
        [mine.get(name, np.nan) - theirs.get(name, np.nan) for name in sorted(set(base.rows["prompt_id"]))]
    )
    there_K = ~np.isnan(change_K)
    times_RK = resamples.times_RK[:, there_K]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(times_RK @ change_K[there_K] / times_RK.sum(axis=1))


def exploitation(now: Replies, base: Replies, before: Collection[str], how: Alarms, seed: int) -> Iterator[Finding]:
    """Of the replies that the training judge newly credits, those that the held-out judge rejects, above base's share.

    A prompt's replies are newly credited where base's had no credit (after arXiv 2605.12474, with prompts in place of
    criteria, since held-out criteria are others than those that train). One judge is stricter than the other, and what
    is credited against a prompt's other replies is often luck: so base's share is that of its own replies which were
    credited where its others of the prompt were not. Nothing is looked at where base gave one reply a prompt: its lucky
    ones would count among what it was credited before.
    """
    if base.rows.drop_nulls(["reward", "held_out"])["prompt_id"].is_unique().all():
        return
    prompts, newly, then = [], [], []
    for replies, fresh in ((now, True), (base, False)):
        for row in _beside_base(replies, base).iter_rows(named=True):
            if row["reward"] < CREDITED or row["others"] >= CREDITED:
                continue
            rejected = float(row["held_out"] < CREDITED)
            prompts.append(row["prompt_id"])
            newly.append(rejected if fresh else np.nan)
            then.append(np.nan if fresh else rejected)
    found = UNKNOWN
    if prompts:
        drawn = Resamples.draw(np.array(prompts), how.resamples, seed_of(seed, "exploitation", now.round))
        newly_N, then_N = np.array(newly), np.array(then)
        shares = []
        for value_N in (newly_N, then_N):
            there_N = ~np.isnan(value_N)
            above_R = drawn.sums(np.where(there_N, value_N, 0.0))
            below_R = drawn.sums(there_N.astype(float))
            shares.append(np.divide(above_R, below_R, out=np.full_like(above_R, np.nan), where=below_R > 0))
        found = drawn.interval(shares[0] - shares[1])
    level = repeated(bool(found.lower95 > how.max_exploitation), "exploitation", before)
    sentence = (
        f"Exploitation: the held-out judge rejects {spelled(found)} more of what the training judge newly credits than "
        f"of what base was credited alike; {how.max_exploitation:g} is allowed."
    )
    yield Finding("exploitation", level, found, how.max_exploitation, sentence)


def _beside_base(replies: Replies, base: Replies) -> pl.DataFrame:
    """Scored replies to prompts that base answered more than once: prompt_id, reward, held_out, and `others`, the mean
    reward of base's replies to the prompt but for the reply itself."""
    scored = replies.rows.drop_nulls(["reward", "held_out"])
    itself = 1 if replies is base else 0
    at_base = base.rows.drop_nulls("reward").group_by("prompt_id").agg(pl.col("reward").sum().alias("sum"), pl.len())
    at_base = at_base.filter(pl.col("len") > 1)
    own = pl.col("reward") * itself
    return scored.join(at_base, on="prompt_id", how="inner", maintain_order="left").select(
        "prompt_id",
        "reward",
        "held_out",
        others=(pl.col("sum") - own) / (pl.col("len").cast(pl.Int64) - itself),
    )


def length_growth(now: Replies, base: Replies, before: Collection[str], how: Alarms, seed: int) -> Finding:
    """Replies that are longer by more than is allowed, by the lower bound, without a held-out score that is higher."""
    at_base = float(np.mean(list(base.means["length"].values())))
    growth = change(now, base, "length", how.resamples, seed)
    share = Interval(*(bound / at_base if at_base else float("nan") for bound in growth))
    held_out = change(now, base, "held_out", how.resamples, seed)
    fires = share.lower95 > how.max_length_growth and not rises(held_out)
    level = repeated(fires, "length_growth", before) if known(held_out) else Level(int(fires))
    told = f"the held-out score moved by {spelled(held_out, 3)}"
    if not known(held_out):
        told = "the held-out scores cannot tell" if now.watched else "no held-out judge is asked"
    sentence = (
        f"Length growth: replies are longer than base's by a share of {spelled(share)}, {how.max_length_growth:g} is "
        f"allowed without gain, and {told}."
    )
    return Finding("length_growth", level, share, how.max_length_growth, sentence)


def _name(replies: Replies) -> str:
    return "base" if replies.round == 0 else f"round {replies.round}"
