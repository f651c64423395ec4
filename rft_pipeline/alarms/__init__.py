"""Alarms: does a round's gain hold before a judge that trains nothing, and is the judge still the one it was?

Works on tables of replies and scores; nothing here asks a judge. `assess` gives one round's verdict: `gains` sets the
reward beside the held-out score, `pays` names what is paid for (length, markup, `phrases`), `diversity` watches for one
reply to everybody, `drift` the judge's scores of the anchors.
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
