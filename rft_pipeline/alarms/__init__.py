"""Alarms: is a round's gain real, or does the policy exploit the judge, and did the judge change?

Works on tables of replies and scores; nothing here calls a judge. `assess` combines the alarms of one round: `gains`
compares the reward with the held-out score, `features` finds what raises the reward alone (length, markup, `phrases`),
`diversity` detects collapse to similar replies, and `drift` compares the judges' scores of the anchors over time.
"""

from rft_pipeline.alarms.assess import assess, best_start
from rft_pipeline.alarms.drift import ANCHORS, Drift, MovedBy, drift, judge_drift, moved_by
from rft_pipeline.alarms.findings import Finding, Level, RoundAlarms, as_plain, round_alarms
from rft_pipeline.alarms.phrases import Phrase, PhraseEffect, control, phrases, put_into
from rft_pipeline.alarms.replies import Replies, change

__all__ = [
    "ANCHORS",
    "Drift",
    "Finding",
    "Level",
    "MovedBy",
    "Phrase",
    "PhraseEffect",
    "Replies",
    "RoundAlarms",
    "as_plain",
    "assess",
    "best_start",
    "change",
    "control",
    "drift",
    "judge_drift",
    "moved_by",
    "phrases",
    "put_into",
    "round_alarms",
]
