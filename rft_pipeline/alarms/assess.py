"""All alarms of one round together."""

from collections.abc import Collection, Mapping, Sequence

from rft_pipeline.alarms.diversity import distance, diversity
from rft_pipeline.alarms.features import feature_alarms
from rft_pipeline.alarms.findings import Finding, RoundAlarms, round_alarms
from rft_pipeline.alarms.gains import length_growth, over_optimisation, unseen_gain
from rft_pipeline.alarms.phrases import Phrase, PhraseEffect
from rft_pipeline.alarms.replies import Replies, known
from rft_pipeline.campaign import Alarms
from rft_pipeline.stats import Interval


def assess(
    now: Replies,
    base: Replies,
    start: Replies,
    fired_at_start: Collection[str],
    settings: Alarms,
    seed: int,
    found: Sequence[Phrase] = (),
    effects: Sequence[PhraseEffect] = (),
    judge_findings: Sequence[Finding] = (),
) -> RoundAlarms:
    """The alarms of a round after base.

    `start` is the round that it started from, `fired_at_start` the causes that fired there, `found` the round's
    phrases, `effects` what these do to bad anchors, `judge_findings` what the anchors say about the judges. Without a
    held-out judge, `over_optimisation` and `unseen_gain` are left out.
    """
    findings = list(judge_findings)
    if now.watched and base.watched:
        findings += [
            over_optimisation(now, base, start, fired_at_start, settings, seed),
            unseen_gain(now, base, settings, seed),
        ]
    findings += feature_alarms(now, base, found, effects, fired_at_start, settings, seed)
    findings.append(length_growth(now, base, fired_at_start, settings, seed))
    findings += diversity(now, base, settings, seed)
    findings += distance(now, settings)
    return round_alarms(findings)


def best_start(newest: int, stopped: Collection[int], changes: Mapping[int, Interval]) -> int:
    """The round whose checkpoint the next one starts from.

    This is the newest round unless it was stopped. Otherwise it is the round with the best lower bound among those that
    were not stopped and are not significantly worse than base; 0 (base) if there is none. `changes` holds each round's
    change since base, with NaN bounds where they are unknown.
    """
    if newest not in stopped:
        return newest
    candidates = {
        round_: change.lower95
        for round_, change in changes.items()
        if round_ not in stopped and known(change) and change.upper95 >= 0
    }
    return max(candidates, key=lambda round_: (candidates[round_], round_)) if candidates else 0
