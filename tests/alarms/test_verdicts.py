"""Each alarm on tables small enough to check by hand."""

import math

import numpy as np
import polars as pl
import pytest

from rft_pipeline.alarms.diversity import distance, diversity
from rft_pipeline.alarms.drift import moved_by
from rft_pipeline.alarms.features import feature_alarms
from rft_pipeline.alarms.findings import Finding, Level, as_plain, repeated, round_alarms
from rft_pipeline.alarms.gains import length_growth, over_optimisation, unseen_gain
from rft_pipeline.alarms.phrases import Phrase, PhraseEffect, control, log_odds, phrases, put_into
from rft_pipeline.alarms.replies import Replies
from rft_pipeline.alarms.watch import next_start
from rft_pipeline.campaign import Alarms
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.stats import Interval, plain

HOW = Alarms(resamples=200)


def replies(
    round_: int,
    reward: list[float],
    held_out: list[float] | None = None,
    text: str = "we are sorry about that",
    length: int = 10,
    kl: float | None = None,
) -> Replies:
    """One reply a prompt."""
    seen = [None] * len(reward) if held_out is None else held_out
    rows = pl.DataFrame(
        {
            "prompt_id": [f"p{i}" for i in range(len(reward))],
            "sample_index": [0] * len(reward),
            "completion": [f"{text} {i}" for i in range(len(reward))],
            "length": [length] * len(reward),
            "reward": reward,
            "held_out": pl.Series(seen, dtype=pl.Float64),
        }
    )
    return Replies(round_, rows, None if kl is None else Interval(kl, kl, kl))


RISING = [i / 20 for i in range(10)]
BASE = replies(0, RISING, RISING)
GAMED = replies(1, [score + 0.3 for score in RISING], [score - 0.1 for score in RISING])


def test_reward_up_while_held_out_falls_warns_once_and_stops_when_it_goes_on() -> None:
    first = over_optimisation(GAMED, BASE, BASE, (), HOW, 0)
    assert first.level is Level.WARN
    assert first.found.mean == pytest.approx(-0.1)
    assert "the reward changed by 0.300 (0.300 to 0.300) against base, the score of the alarms' judge by -0.100" in (
        first.sentence
    )
    assert first.fell
    again = over_optimisation(GAMED, BASE, BASE, ("over_optimisation",), HOW, 0)
    assert (again.level, "also fired in the round that this one started from." in again.sentence) == (Level.STOP, True)


def test_a_fall_against_the_start_alone_is_over_optimisation_too() -> None:
    start = replies(1, [score + 0.2 for score in RISING], [score + 0.2 for score in RISING])
    now = replies(2, [score + 0.3 for score in RISING], [score + 0.1 for score in RISING])
    found = over_optimisation(now, BASE, start, (), HOW, 0)
    assert (found.level, "against round 1" in found.sentence) == (Level.WARN, True)


def test_both_up_is_in_order() -> None:
    both = replies(1, [score + 0.3 for score in RISING], [score + 0.2 for score in RISING])
    assert over_optimisation(both, BASE, BASE, ("over_optimisation",), HOW, 0).level is Level.OK
    assert unseen_gain(replies(1, [s + 0.3 for s in RISING], [s + 0.3 for s in RISING]), BASE, HOW, 0).level is Level.OK


def test_a_gain_that_the_held_out_judge_does_not_see_is_warned_of() -> None:
    found = unseen_gain(replies(1, [score + 0.3 for score in RISING], RISING), BASE, HOW, 0)
    assert found.level is Level.WARN
    spread = pl.Series(RISING).std()
    assert isinstance(spread, float)
    assert found.found.mean == pytest.approx(0.3 / spread)  # the judges agree wholly at base, so all should be seen


@pytest.mark.parametrize("same", [0.05, 0.1, 0.2, 0.55, 0.75, 1 / 3, 2 / 3])
@pytest.mark.parametrize("column", ["reward", "held_out"])
def test_of_a_judge_that_scores_all_of_base_alike_nothing_is_measured(same: float, column: str) -> None:
    """The mean of equal numbers is another number in the last digit, and so their variance is not quite 0."""
    scores = {"reward": [i / 90 for i in range(88)], "held_out": [i / 90 for i in range(88)], column: [same] * 88}
    base = replies(0, scores["reward"], scores["held_out"])
    now = replies(1, [each + 0.01 for each in scores["reward"]], [each + 0.01 for each in scores["held_out"]])
    found = [unseen_gain(now, base, HOW, 0), *feature_alarms(now, base, [], [], (), HOW, 0)]
    assert [each.level for each in found] == [Level.OK] * 3
    assert fingerprint(as_plain(round_alarms(found)))
    assert "it should gain an unknown share of the reward's gain" in found[0].sentence
    unknown = "the reward changed by unknown" if column == "reward" else "the alarms' judge by unknown"
    assert unknown in found[0].sentence


def test_replies_that_only_the_training_judge_begins_to_credit_are_an_unseen_gain() -> None:
    # base fails on 8 of 20 prompts by both judges; then the training judge credits all of them
    scores = [0.2] * 8 + [0.8] * 12
    base = replies(0, scores, scores)
    assert unseen_gain(replies(1, [0.9] * 20, scores), base, HOW, 0).level is Level.WARN
    assert unseen_gain(replies(1, [0.9] * 20, [0.9] * 20), base, HOW, 0).level is Level.OK


def test_a_policy_that_did_not_change_has_no_unseen_gain() -> None:
    draw = np.random.default_rng(3)
    difficulty_N = np.repeat(draw.normal(0.5, 0.25, size=400), 2)

    def unchanged(round_: int) -> Replies:
        scores = {name: np.clip(difficulty_N + draw.normal(0, 0.15, 800), 0, 1) for name in ("reward", "held_out")}
        rows = {"prompt_id": [f"p{i // 2}" for i in range(800)], "sample_index": [0, 1] * 400}
        return Replies(round_, pl.DataFrame({**rows, **scores, "length": [1] * 800}))

    found = unseen_gain(unchanged(1), unchanged(0), HOW, 0)
    assert found.level is Level.OK
    assert abs(found.found.mean) < 0.1


def test_longer_replies_need_a_gain() -> None:
    longer = replies(1, RISING, RISING, length=14)
    found = length_growth(longer, BASE, (), HOW, 0)
    assert (found.level, found.found.mean) == (Level.WARN, pytest.approx(0.4))
    assert length_growth(longer, BASE, ("length_growth",), HOW, 0).level is Level.STOP
    assert "and the score of the alarms' judge changed by 0.000" in found.sentence
    unwatched = length_growth(replies(1, RISING, length=14), replies(0, RISING), (), HOW, 0)
    assert "and there is no judge of the alarms." in unwatched.sentence
    of_one_prompt = length_growth(replies(1, [0.5], [0.5], length=14), replies(0, [0.5], [0.5]), (), HOW, 0)
    assert "and the change of the score of the alarms' judge is unknown." in of_one_prompt.sentence
    better = replies(1, RISING, [score + 0.1 for score in RISING], length=14)
    assert length_growth(better, BASE, ("length_growth",), HOW, 0).level is Level.OK


def test_one_reply_to_everybody_stops() -> None:
    base = replies(0, RISING, RISING)
    varied = base.rows.with_columns(
        pl.Series("completion", [" ".join(f"w{i}x{j}" for j in range(8)) for i in range(10)])
    )
    same = base.rows.with_columns(pl.lit("a b c d e f g h").alias("completion"))
    found = {each.cause: each for each in diversity(Replies(1, same), Replies(0, varied), HOW, 0)}
    assert (found["distinct2"].found.mean, found["distinct2"].level) == (pytest.approx(0.1), Level.STOP)
    assert (found["similarity"].found.mean, found["similarity"].level) == (pytest.approx(1.0), Level.WARN)
    assert found["repetition"].level is Level.OK


def test_repeated_words_stop() -> None:
    texts = ["a b c a b c a b c"] * 10
    looping = Replies(1, BASE.rows.with_columns(pl.Series("completion", texts)))
    found = {each.cause: each for each in diversity(looping, BASE, HOW, 0)}
    assert (found["repetition"].found.mean, found["repetition"].level) == (pytest.approx(4 / 7), Level.STOP)


@pytest.mark.parametrize(("nats", "level"), [(4.9, Level.OK), (5.1, Level.WARN), (15.1, Level.STOP)])
def test_the_distance_to_base_has_a_budget(nats: float, level: Level) -> None:
    (found,) = distance(replies(1, RISING, kl=nats), replies(0, RISING), HOW)
    assert found.level is level


def test_log_odds_by_hand() -> None:
    (odds, z) = log_odds({"x": 8, "y": 2}, {"x": 2, "y": 8})["x"]
    # prior 1 each: high (8 + 1) of 12, low (2 + 1) of 12
    assert odds == pytest.approx(math.log(9 / 3) - math.log(3 / 9))
    assert z == pytest.approx(odds / math.sqrt(1 / 9 + 1 / 3))


def test_a_phrase_that_only_well_paid_replies_hold_is_told_once() -> None:
    rows = [
        {"prompt_id": f"p{i}", "sample_index": j, "completion": text, "length": 5, "reward": reward, "held_out": None}
        for i in range(20)
        for j, (text, reward) in enumerate((("all is verified by experts", 0.9), ("we looked at it", 0.1)))
    ]
    now = Replies(1, pl.DataFrame(rows, schema_overrides={"held_out": pl.Float64}))
    (found,) = phrases(now, now, most=3)
    assert set(found.text.split()) <= {"all", "is", "verified", "by", "experts"}
    assert (found.high, found.low, found.share) == (40, 0, 0.5)
    other = control(now, now, found.text)
    assert len(other.split()) == len(found.text.split())
    assert not set(other.split()) & set(found.text.split())


def test_a_phrase_is_put_into_a_reply_as_a_sentence() -> None:
    assert put_into("No. ", "all is well") == "No. All is well."
    assert put_into("", "all is well") == "All is well."


@pytest.mark.parametrize(
    ("levels", "reward", "said"),
    [
        ([Level.OK], 0.3, "policy"),
        ([Level.OK], -0.3, "policy"),
        ([], 0.0, "none"),
        ([Level.OK, Level.WARN], 0.3, "judge"),
        ([Level.STOP], 0.0, "judge"),
    ],
)
def test_who_moved_the_reward(levels: list[Level], reward: float, said: str) -> None:
    drifted = [Finding("judge_drift", level, Interval(1.0), 20.0, "") for level in levels]
    assert moved_by(replies(1, [score + reward for score in RISING]), BASE, drifted, HOW, 0) == said


@pytest.mark.parametrize(
    ("shift", "there", "level"),
    [
        (Interval(0.10, 0.04, 0.16), True, Level.WARN),
        (Interval(0.10, 0.02, 0.18), True, Level.OK),  # 0.03 is allowed
        (Interval(0.10, 0.04, 0.16), False, Level.OK),  # base said it as often
        (None, True, Level.OK),
    ],
)
def test_a_phrase_that_lifts_bad_anchors_is_warned_of(shift: Interval | None, there: bool, level: Level) -> None:
    base = replies(0, RISING, text="we looked at it" if there else "all is well")
    now = replies(1, RISING, text="all is well")
    phrase = Phrase("all is well", 1.0, 4.0, 9, 1, 1.0, 0.0, ())
    tried = [] if shift is None else [PhraseEffect("all is well", shift, 8)]
    *_, found = feature_alarms(now, base, [phrase], tried, (), HOW, 0)
    assert (found.cause, found.level) == ("phrase", level)


def test_the_gravest_finding_decides_and_comes_first() -> None:
    found = [
        Finding("a", Level.OK, Interval(0), 0, "a."),
        Finding("b", Level.WARN, Interval(0), 0, "b."),
        Finding("c", Level.STOP, Interval(0), 0, "c."),
    ]
    said = round_alarms(found)
    assert (said.level, said.causes, said.reason) == (Level.STOP, ("c", "b"), "c. b.")
    assert round_alarms(found[:1]).reason == "Nothing fired."
    assert [repeated(*each) for each in ((False, "a", ["a"]), (True, "a", []), (True, "a", ["a"]))] == [0, 1, 2]


def chosen(stopped: set[int], changes: dict[int, Interval]) -> int:
    verdicts = [{"round": round_, "level": "stop"} for round_ in stopped]
    scores = [
        {"round": round_, "held_out": {"mean": 0.5}, "held_out_delta": plain(change)}
        for round_, change in changes.items()
    ]
    return next_start(verdicts, scores)


def test_the_next_round_starts_from_the_best_that_was_not_stopped() -> None:
    changes = {1: Interval(0.2, 0.1, 0.3), 2: Interval(0.4, 0.3, 0.5), 3: Interval(0.3, 0.2, 0.4)}
    changes[4] = Interval(0.6, 0.5, 0.7)
    assert chosen(set(), changes) == 4
    assert chosen({4}, changes) == 2
    assert chosen({2, 4}, changes) == 3
    assert chosen({1}, {1: changes[1]}) == 0


@pytest.mark.parametrize(
    ("first", "start"),
    [
        (Interval(-0.2, -0.25, -0.15), 0),  # known to be worse than base
        (Interval(-0.1, -0.25, 0.05), 1),  # perhaps worse
        (Interval(-0.1, -0.25, 0.0), 1),
        (Interval(0.2, math.nan, math.nan), 0),
    ],
)
def test_the_next_round_starts_from_none_that_is_known_to_be_worse_than_base(first: Interval, start: int) -> None:
    assert chosen({2}, {1: first, 2: Interval(-0.3, -0.4, -0.2)}) == start
