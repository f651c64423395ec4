"""All alarms of one round together."""

from collections.abc import Collection, Mapping, Sequence

from rft_pipeline.alarms.diversity import distance, diversity
from rft_pipeline.alarms.findings import Finding, RoundAlarms, round_alarms
from rft_pipeline.alarms.gains import exploitation, length_growth, over_optimisation, unseen_gain
from rft_pipeline.alarms.pays import pays
from rft_pipeline.alarms.phrases import Phrase, PhraseEffect
from rft_pipeline.alarms.replies import Replies, known
from rft_pipeline.campaign import Alarms
from rft_pipeline.stats import Interval


def assess(
    now: Replies,
    base: Replies,
    start: Replies,
    before: Collection[str],
    how: Alarms,
    seed: int,
    found: Sequence[Phrase] = (),
    tried: Sequence[PhraseEffect] = (),
    drifted: Sequence[Finding] = (),
) -> RoundAlarms:
    """The verdict of a round after base.

    `start` is the round that it started from and `before` what fired there; `found` are its phrases, `tried` what they
    do to bad anchors, `drifted` what its judges' anchors say. Without a held-out judge only what needs none is looked
    at.
    """
    findings = list(drifted)
    if now.watched and base.watched:
        findings += [
            over_optimisation(now, base, start, before, how, seed),
            *exploitation(now, base, before, how, seed),
            unseen_gain(now, base, how, seed),
        ]
    findings += pays(now, base, found, tried, before, how, seed)
    findings.append(length_growth(now, base, before, how, seed))
    findings += diversity(now, base, how, seed)
    findings += distance(now, how)
    return round_alarms(findings)


def best_start(newest: int, stopped: Collection[int], changes: Mapping[int, Interval]) -> int:
    """The round whose checkpoint the next one starts from: the newest, or when that is stopped the one with the best
    lower bound of those that are neither stopped nor known to be worse than base; 0, base, when there is none.

    `changes` holds each round's change since base; its bounds are NaN where nobody can tell.
    """
    if newest not in stopped:
        return newest
    sound = {
        round_: change.lower95
        for round_, change in changes.items()
        if round_ not in stopped and known(change) and change.upper95 >= 0
    }
    return max(sound, key=lambda round_: (sound[round_], round_)) if sound else 0
