"""All alarms of one round together."""

from collections.abc import Collection, Sequence

from rft_pipeline.alarms.copying import copying
from rft_pipeline.alarms.diversity import distance, diversity
from rft_pipeline.alarms.features import feature_alarms
from rft_pipeline.alarms.findings import Finding, RoundAlarms, round_alarms
from rft_pipeline.alarms.gains import length_growth, over_optimisation, unseen_gain
from rft_pipeline.alarms.phrases import Phrase, PhraseEffect
from rft_pipeline.alarms.replies import Replies
from rft_pipeline.campaign import Alarms


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
    alarms' judge, `over_optimisation` and `unseen_gain` are left out.
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
    findings += copying(now, base, settings, seed)
    findings += distance(now, base, settings)
    return round_alarms(findings)
