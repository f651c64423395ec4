"""Drift of a judge on anchors, on tables small enough to check by hand."""

import math

import polars as pl
import pytest

from rft_pipeline.alarms.drift import ANCHORS, Drift, drift, judge_drift
from rft_pipeline.alarms.findings import Level
from rft_pipeline.campaign import Alarms
from rft_pipeline.stats import Interval

HOW = Alarms(resamples=200)


def anchors(*scores: float) -> pl.DataFrame:
    """Thirty anchors a round, all labelled good, each round with one score."""
    rows = [
        (round_, "kind", f"a{i}", f"p{i}", 1, score, "judge")
        for round_, score in enumerate(scores, 1)
        for i in range(30)
    ]
    return pl.DataFrame(rows, schema=ANCHORS, orient="row")


def test_scores_that_stay_leave_the_evidence_at_one() -> None:
    assert [each.evidence for each in drift(anchors(0.8, 0.8, 0.8), HOW, 0)] == [1.0, 1.0, 1.0]


def test_a_judge_that_moves_away_from_the_labels_stops_and_one_that_moves_towards_them_warns() -> None:
    worse = judge_drift(drift(anchors(0.8, 0.4), HOW, 0), 2, HOW, ["kind"])["kind"]
    assert (worse.cause, worse.level) == ("judge_drift", Level.STOP)
    assert "moved by -0.400 on average" in worse.sentence
    assert "every later round is stopped: name the current judge as a new model" in worse.sentence
    better = judge_drift(drift(anchors(0.4, 0.8), HOW, 0), 2, HOW, ["kind"])["kind"]
    assert better.level is Level.WARN


@pytest.mark.parametrize(("later", "level"), [(0.8, Level.OK), (0.4, Level.WARN), (0.95, Level.WARN)])
def test_a_judge_without_labels_is_told_by_its_moves_alone(later: float, level: Level) -> None:
    scored = anchors(0.8, later, later).with_columns(pl.lit(None, pl.Float64).alias("label"))
    *_, last = drift(scored, HOW, 0)
    told = judge_drift([last], 3, HOW, ["kind"])["kind"]
    assert (told.level, last.worse) == (level, 1.0)
    assert math.isnan(last.gap.mean)


def test_a_judge_that_trains_nothing_stops_nothing() -> None:
    told = judge_drift(drift(anchors(0.8, 0.4), HOW, 0), 2, HOW, [])["kind"]
    assert (told.level, told.sentence.endswith("It agrees less with the labels.")) == (Level.WARN, True)


def test_the_error_is_spent_on_one_bet_alone() -> None:
    """Two bets held against the same limit would be wrong in up to twice as many campaigns."""
    nothing = Interval(0.0)
    # the mean of four bets, of which one is 30: 7.5; the limit is 1 / 0.05
    unsure = Drift("kind", 2, nothing, nothing, 0.9, 0.1, evidence=7.5, worse=30.0, changed=False)
    sure = Drift("kind", 2, nothing, nothing, 0.9, 0.1, evidence=25.0, worse=30.0, changed=False)
    assert [judge_drift([each], 2, HOW, ["kind"])["kind"].level for each in (unsure, sure)] == [Level.OK, Level.STOP]


@pytest.mark.parametrize(
    ("evidence", "criteria", "level"),
    [(19.0, 1, Level.OK), (21.0, 1, Level.WARN), (21.0, 2, Level.OK), (41.0, 2, Level.WARN), (59.0, 3, Level.OK)],
)
def test_the_error_is_shared_among_the_criteria(evidence: float, criteria: int, level: Level) -> None:
    nothing = Interval(0.0)
    found = [
        Drift(f"c{i}", 2, nothing, nothing, 0.9, 0.1, evidence if i == 0 else 1.0, worse=1.0, changed=False)
        for i in range(criteria)
    ]
    assert judge_drift(found, 2, HOW, ["c0"])["c0"].level is level


def test_a_large_allowance_leaves_the_evidence_a_number() -> None:
    """Scores that rise, and then all fall from 1 to 0: the bet on a rise loses most, never more than all."""
    allowed = Alarms(resamples=200, max_anchor_shift=0.3)
    rows = [
        (round_, "kind", f"a{i}", f"p{i}", 0, score, "judge")
        for round_, scores in enumerate(([0.0] * 5 + [1.0] * 5, [1.0] * 5 + [None] * 5, [None] * 5 + [0.0] * 5), 1)
        for i, score in enumerate(scores)
    ]
    found = drift(pl.DataFrame(rows, schema=ANCHORS, orient="row"), allowed, 0)
    assert all(math.isfinite(each.evidence) and each.evidence > 0 for each in found)
