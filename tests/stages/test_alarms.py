"""From judged rows to what the alarms read."""

import json

import polars as pl
import pytest

from rft_pipeline.alarms import watch
from rft_pipeline.alarms.phrases import Phrase
from rft_pipeline.alarms.replies import Replies
from rft_pipeline.alarms.watch import (
    WITH_PHRASE,
    PhraseTrial,
    held_out_scores,
    judges_changed,
    next_start,
    phrase_effects,
    phrase_trials,
)
from rft_pipeline.audit.rows import audit_rows
from rft_pipeline.campaign import Alarms
from rft_pipeline.campaign.addresses import JudgedCriterion
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.engines import ScoreRequest, ScoreResult
from rft_pipeline.evaluation.kl import kl_of, sequence_kl

HOW = Alarms(resamples=100)
KIND = Criterion.model_validate({"name": "kind", "judge": {"protocol": "binary", "question": "Is it kind?"}})


class Base:
    """Every token has log-prob −2."""

    context = 100

    def score(self, requests: list[ScoreRequest]) -> list[ScoreResult]:
        return [ScoreResult([-2.0] * len(request.continuation), []) for request in requests]


def test_kl_is_summed_over_a_reply_and_unknown_without_tokens() -> None:
    rows = pl.DataFrame(
        {
            "rollout_id": ["a", "b", "served"],
            "prompt_tokens": [[1], [1], []],
            "tokens": [[5, 6, 7], [5], []],
            "logprobs": [[-1.0, -1.0, -1.0], [-2.0], []],
        }
    )
    assert sequence_kl(rows, Base).rows() == [("a", 3.0), ("b", 0.0)]  # type: ignore[arg-type]


def test_the_kl_of_a_round_is_the_mean_of_its_own_replies_and_unknown_without_any() -> None:
    rows = pl.DataFrame({"round": [1, 1, 2, 2], "prompt_id": ["p", "q", "p", "q"], "kl": [9.0, 7.0, 3.0, -1.0]})
    found = kl_of(rows, 2, resamples=500, seed=0)
    assert found is not None
    assert (found.mean, found.lower95, found.upper95) == (
        1.0,
        -1.0,
        3.0,
    )  # one prompt twice: 1 of 4 resamples each
    assert kl_of(rows, 3, resamples=500, seed=0) is None


def test_the_held_out_score_is_the_weighted_mean_of_what_was_scored() -> None:
    rows = [
        ("r1", "x", 1.0),
        ("r1", "y", 0.0),
        ("r2", "x", 0.5),
        ("r2", "y", None),
        ("r3", "x", None),
        ("r3", "y", None),
    ]
    scores = pl.DataFrame(rows, schema=["rollout_id", "criterion", "score"], orient="row")
    assert held_out_scores(scores, {"x": 0.75, "y": 0.25}).rows() == [("r1", 0.75), ("r2", 0.5), ("r3", None)]


def anchors() -> pl.DataFrame:
    rows = [
        {
            "id": f"a{i}",
            "prompt_id": f"p{i}",
            "messages": json.dumps([{"role": "user", "content": "Where?"}]),
            "completion": "No.",
            "finish_reason": "stop",
            "fields": "{}",
            "labels": {"kind": int(i == 0)},
            "source": None,
        }
        for i in range(5)
    ]
    return audit_rows(pl.DataFrame(rows, schema_overrides={"source": pl.String}), 0, 0)


def test_phrases_and_control_words_of_the_same_length_are_put_into_bad_anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "TRIED_ANCHORS", 2)
    rows = pl.DataFrame(
        {
            "prompt_id": ["p", "p"],
            "sample_index": [0, 1],
            "completion": ["truly yours", "we looked"],
            "length": [2, 2],
            "reward": [1.0, 0.0],
            "held_out": pl.Series([None, None], dtype=pl.Float64),
        }
    )
    now = Replies(1, rows)
    phrase = Phrase("truly yours", 1.0, 4.0, 1, 0, 0.5, 0.0, ())
    trial = phrase_trials(anchors(), KIND, [phrase], now, now, 0)
    assert trial is not None
    assert trial.rows["completion"].to_list() == ["No. Truly yours."] * 2 + ["No. We looked."] * 2
    assert trial.rows["labels"].struct.field("kind").to_list() == [0] * 4
    assert trial.rows["rollout_id"].n_unique() == 4
    scores = trial.rows.select("rollout_id", pl.when(variant=WITH_PHRASE).then(0.9).otherwise(0.2).alias("score"))
    (found,) = phrase_effects([(trial, scores)], {"kind": 1.0}, HOW, 0)
    assert (found.phrase, found.anchors, found.shift.mean) == ("truly yours", 2, pytest.approx(0.7))
    other = PhraseTrial(KIND.model_copy(update={"name": "calm"}), trial.rows)
    (both,) = phrase_effects(
        [(trial, scores), (other, scores.with_columns(score=0.2))], {"kind": 0.75, "calm": 0.25}, HOW, 0
    )
    assert (both.anchors, both.shift.mean) == (2, pytest.approx(0.75 * 0.7))


def test_another_judge_asks_for_a_bridge_where_no_anchors_are() -> None:
    before, now = JudgedCriterion("kind", {"q": 1}, "old"), JudgedCriterion("kind", {"q": 1}, "new")
    (found,) = judges_changed([before], [now], [])
    assert (found.cause, found.level) == ("judge_changed", 1)
    assert "label anchors to compare the two" in found.sentence
    assert judges_changed([before], [now], ["kind"]) == []
    assert judges_changed([before], [before], []) == []
    assert judges_changed([before], [JudgedCriterion("kind", {"q": 2}, "new")], []) == []


def test_the_next_start_goes_by_the_held_out_score_or_without_one_by_the_reward() -> None:
    def change(lower: float | None) -> dict[str, float | None]:
        return {"mean": 0.4, "lower95": lower, "upper95": None if lower is None else 0.9}

    def scores(held_out: float | None) -> list[dict[str, object]]:
        lower = {1: (0.3, 0.1), 2: (0.1, 0.3), 3: (0.5, 0.5)}
        base = {"round": 0, "held_out": {"mean": held_out}, "held_out_delta": None, "reward_delta": None}
        return [base] + [
            {
                "round": round_,
                "held_out": {"mean": held_out},
                "held_out_delta": change(None if held_out is None else mine),
                "reward_delta": change(reward),
            }
            for round_, (mine, reward) in lower.items()
        ]

    verdicts = [{"round": 1, "level": "ok"}, {"round": 2, "level": "warn"}, {"round": 3, "level": "stop"}]
    assert next_start(verdicts, scores(0.5)) == 1
    assert next_start(verdicts, scores(None)) == 2
    assert next_start(verdicts[:2], scores(0.5)) == 3
