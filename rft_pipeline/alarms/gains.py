"""Is the gain real? Compares the reward with the score of a judge of the alarms, which trains nothing.

`over_optimisation` compares a round with base and with the round it started from: the reward rises and the score of the
alarms' judge does not (Gao et al. 2022, arXiv 2210.10760). `unseen_gain` warns when the score of the alarms' judge
rises too little.
"""

from collections.abc import Collection

import numpy as np

from rft_pipeline.alarms.findings import Finding, Level, repeated, spelled
from rft_pipeline.alarms.replies import Replies, agreement, change, does_not_rise, known, rises, spread
from rft_pipeline.campaign import Alarms
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.stats import Interval, Resamples


def over_optimisation(
    now: Replies, base: Replies, start: Replies, before: Collection[str], settings: Alarms, seed: int
) -> Finding:
    """The reward rises and the score of the alarms' judge does not, against base or against the start. Stops the second
    time."""
    fired, shown = False, None
    for then in {base.round: base, start.round: start}.values():
        reward = change(now, then, "reward", settings.resamples, seed)
        held_out = change(now, then, "held_out", settings.resamples, seed)
        fires = rises(reward) and does_not_rise(held_out)
        if shown is None or (fires and not fired):
            shown = (then, reward, held_out)
        fired = fired or fires
    assert shown is not None
    then, reward, held_out = shown
    level = repeated(fired, "over_optimisation", before)
    twice = "; this alarm also fired in the round that this one started from" if level is Level.STOP else ""
    sentence = (
        f"Over-optimisation: the reward changed by {spelled(reward, 3)} against {then.name}, the score of the alarms' "
        f"judge by {spelled(held_out, 3)}; the upper bound of its change must be above 0{twice}."
    )
    return Finding("over_optimisation", level, held_out, 0.0, sentence, fell=bool(held_out.mean < 0))


def unseen_gain(now: Replies, base: Replies, settings: Alarms, seed: int) -> Finding:
    """The gain since base that the alarms' judge should see, minus the gain that it sees, in standard deviations."""
    resamples = Resamples.draw(
        base.rows["prompt_id"].to_numpy(), settings.resamples, seed_of(seed, "unseen gain", now.round)
    )
    share_R = agreement(base, resamples)
    gained_R = [_gain(now, base, column, resamples) / spread(base, column) for column in ("reward", "held_out")]
    reward, held_out = (resamples.interval(each) for each in gained_R)
    unseen = resamples.interval(share_R * gained_R[0] - gained_R[1])
    fires = reward.lower95 > settings.min_effect and unseen.lower95 > 0
    share = "an unknown share" if np.isnan(share_R[0]) else f"{share_R[0]:.0%}"
    sentence = (
        f"Unseen gain: since {base.name}, the reward changed by {spelled(reward)} standard deviations and the score of "
        f"the alarms' judge by {spelled(held_out)}; from how the two agreed on its replies, it should gain {share} of "
        "the reward's gain."
    )
    fell = bool(held_out.mean < 0)
    return Finding("unseen_gain", Level.WARN if fires else Level.OK, unseen, 0.0, sentence, fell=fell)


def _gain(now: Replies, base: Replies, column: str, resamples: Resamples) -> np.ndarray:
    """Mean change since base over the prompts scored in both, by resample of base's rows; NaN where none is scored."""
    mine, theirs = now.means[column], base.means[column]
    change_K = np.array(
        [mine.get(name, np.nan) - theirs.get(name, np.nan) for name in sorted(set(base.rows["prompt_id"]))]
    )
    scored_K = ~np.isnan(change_K)
    times_RK = resamples.times_RK[:, scored_K]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(times_RK @ change_K[scored_K] / times_RK.sum(axis=1))


def length_growth(now: Replies, base: Replies, before: Collection[str], settings: Alarms, seed: int) -> Finding:
    """The lower bound of the growth in length is above its limit, and the score of the alarms' judge does not rise."""
    at_base = float(np.mean(list(base.means["length"].values())))
    growth = change(now, base, "length", settings.resamples, seed)
    share = Interval(*(bound / at_base if at_base else float("nan") for bound in growth))
    held_out = change(now, base, "held_out", settings.resamples, seed)
    fires = share.lower95 > settings.max_length_growth and not rises(held_out)
    level = repeated(fires, "length_growth", before) if known(held_out) else Level(int(fires))
    seen = f"the score of the alarms' judge changed by {spelled(held_out, 3)}"
    if not known(held_out):
        unknown = "the change of the score of the alarms' judge is unknown"
        seen = unknown if now.watched else "there is no judge of the alarms"
    sentence = (
        f"Length growth: the mean length changed by a share of {spelled(share)} since {base.name}; the limit without a "
        f"gain is {settings.max_length_growth:g}, and {seen}."
    )
    return Finding("length_growth", level, share, settings.max_length_growth, sentence)
