"""What raft, dpo and sft choose from a batch. The batch's rewards are the scores of tests/trainers/watched.py."""

import json
from typing import Any

import polars as pl
import pytest

from rft_pipeline.campaign import Training
from rft_pipeline.errors import GateError
from rft_pipeline.trainers.examples import (
    Example,
    PreferencePair,
    best_and_worst,
    best_of_groups,
    good_answers,
    in_steps,
)
from rft_pipeline.trainers.method import steps_for
from tests.trainers.watched import FLAT, GAPPED

WEIGHTS = {"polite": 0.2, "relevant": 0.8, "watched": 0.0}


def training(method: str, **settings: Any) -> Training:
    return Training.model_validate({"method": method, **settings})


def tokens_of(batch: pl.DataFrame, prompt: str, index: int) -> list[int]:
    found: list[int] = batch.filter(prompt_id=prompt, sample_index=index)["tokens"].to_list()[0]
    return found


def test_the_best_rollout_of_each_group_that_can_teach_is_imitated(batch: pl.DataFrame) -> None:
    found = best_of_groups(batch, training("raft"))
    assert [example.name for example in found] == ["desk/2", f"{GAPPED}/3", "lamp/0"]
    assert found[0].tokens == tokens_of(batch, "desk", 2)


def test_two_of_each_group_are_imitated_when_two_are_asked_for(batch: pl.DataFrame) -> None:
    found = [example.name for example in best_of_groups(batch, training("raft", raft={"best": 2}))]
    # desk's three zeros are its worst; of the gapped group the unscored one never
    assert found == ["desk/2", f"{GAPPED}/3", f"{GAPPED}/2", "lamp/0", "lamp/3"]


def test_what_a_gate_stopped_is_not_imitated() -> None:
    """A gated rollout is at the floor, 0: beside a truncated one that passed, and beside one that passed."""
    both = pl.DataFrame(
        {
            "prompt_id": ["cut", "cut", "cut", "passed", "passed", "passed"],
            "sample_index": [0, 1, 2] * 2,
            "prompt_tokens": [[1]] * 6,
            "tokens": [[10], [11], [12], [13], [14], [15]],
            "reward": [0.9, 0.0, 0.0, 0.8, 0.0, 0.0],
            "advantage": [2.0, -1.0, -1.0, 2.0, -1.0, -1.0],
            "excluded": pl.Series([None] * 6, dtype=pl.String),
            "finish_reason": ["length", "stop", "stop", "stop", "stop", "stop"],
        }
    )
    found = best_of_groups(both, training("raft", raft={"best": 2}, mask_truncated=True))
    assert [example.name for example in found] == ["passed/0"]


def test_of_a_group_of_equal_rewards_nothing_is_preferred_whatever_the_margin() -> None:
    tied = pl.DataFrame(
        {
            "prompt_id": ["tied", "tied"],
            "sample_index": [0, 1],
            "prompt_tokens": [[1]] * 2,
            "tokens": [[10], [11]],
            "reward": [0.5, 0.5],
            "advantage": [0.2, -0.2],  # the criteria differ, their weighted mean does not
            "excluded": pl.Series([None] * 2, dtype=pl.String),
        }
    )
    with pytest.raises(GateError, match="rewards differ by"):
        best_and_worst(tied, training("dpo", dpo={"margin": 0}))


def test_the_best_is_preferred_over_the_worst(batch: pl.DataFrame) -> None:
    found = {pair.name: pair for pair in best_and_worst(batch, training("dpo"))}
    assert set(found) == {"desk", GAPPED, "lamp"}
    assert found["lamp"].chosen == tokens_of(batch, "lamp", 0)
    assert found["lamp"].rejected == tokens_of(batch, "lamp", 1)


def test_pairs_closer_than_the_margin_are_left_out(batch: pl.DataFrame) -> None:
    # best minus worst: lamp 0.9 − 0.1, gapped 1.0 − 0.2, desk 1 − 0
    assert [pair.name for pair in best_and_worst(batch, training("dpo", dpo={"margin": 0.9}))] == ["desk"]


def test_a_pair_exactly_at_the_margin_is_learnt_from() -> None:
    assert 0.6 - 0.5 < 0.1  # in floating point
    near = pl.DataFrame(
        {
            "prompt_id": ["near", "near"],
            "sample_index": [0, 1],
            "prompt_tokens": [[1]] * 2,
            "tokens": [[10], [11]],
            "reward": [0.5, 0.6],
            "advantage": [-1.0, 1.0],
            "excluded": pl.Series([None] * 2, dtype=pl.String),
        }
    )
    assert [pair.chosen for pair in best_and_worst(near, training("dpo"))] == [[11]]


def test_a_truncated_rollout_is_not_chosen_when_they_are_masked(batch: pl.DataFrame) -> None:
    cut = pl.when(pl.col("rollout_id").is_in(["lamp-0", "desk-2"])).then(pl.lit("length")).otherwise(pl.lit("stop"))
    batch = batch.with_columns(finish_reason=cut)
    kept = best_of_groups(batch, training("raft", mask_truncated=True))
    # desk's others are alike
    assert [example.name for example in kept] == [f"{GAPPED}/3", "lamp/3"]
    assert best_of_groups(batch, training("raft"))[0].name == "desk/2"


def test_a_batch_without_anything_to_choose_is_refused(batch: pl.DataFrame) -> None:
    flat = batch.filter(prompt_id=FLAT)
    assert best_of_groups(flat, training("raft")) == []
    with pytest.raises(GateError, match="no group has a rollout to imitate"):
        training("raft").how.steps(flat, training("raft"), WEIGHTS)
    with pytest.raises(GateError, match="rewards differ by"):
        best_and_worst(flat, training("dpo"))
    with pytest.raises(GateError, match="no prompt has the field 'reference'"):
        good_answers(flat, training("sft"), WEIGHTS)


def with_references(batch: pl.DataFrame) -> pl.DataFrame:
    fields = {"lamp": {"reference": "The lamp is on its way."}, "desk": {"reference": "A new desk follows."}}
    return batch.with_columns(
        fields=pl.col("prompt_id").map_elements(lambda name: json.dumps(fields.get(name, {})), return_dtype=pl.String)
    )


def test_the_warm_start_learns_the_references(batch: pl.DataFrame) -> None:
    found = good_answers(with_references(batch), training("sft"), WEIGHTS)
    assert [(example.name, example.tokens, example.text) for example in found] == [
        ("desk", None, "A new desk follows."),
        ("lamp", None, "The lamp is on its way."),
    ]


def test_the_best_reply_that_people_judged_goes_before_a_reference(batch: pl.DataFrame) -> None:
    judged = {"lamp-1": ["polite"], "lamp-3": ["polite"], "desk-0": ["polite"], f"{FLAT}-0": ["polite"]}
    human = [judged.get(name, []) for name in batch["rollout_id"]]
    found = good_answers(with_references(batch).with_columns(labelled=pl.Series(human)), training("sft"), WEIGHTS)
    # of the desk's replies people judged one: nothing says it is good
    assert [example.name for example in found] == ["desk", "lamp/3"]


def judged(*replies: dict[str, Any], reference: str = "From a person.") -> pl.DataFrame:
    """Replies to one prompt; what a reply does not say was judged by a model, and scores 0.9."""
    rows = [
        {
            "prompt_id": "p",
            "sample_index": i,
            "prompt_tokens": [1],
            "tokens": [10 + i],
            "scores": {**dict.fromkeys(WEIGHTS, 0.9), **reply.get("judge", {}), **reply["people"]},
            "labelled": sorted(reply["people"]),
            "gated": reply.get("gated", False),
            "finish_reason": reply.get("finish_reason", "stop"),
            "fields": json.dumps({"reference": reference}),
        }
        for i, reply in enumerate(replies)
    ]
    for row in rows:
        row["reward"] = sum(weight * row["scores"][name] for name, weight in WEIGHTS.items())
        row["advantage"] = 0.0
    return pl.DataFrame(rows, schema_overrides={"labelled": pl.List(pl.String)})


def names(batch: pl.DataFrame, **how: Any) -> list[str]:
    return [each.name for each in good_answers(batch, training("sft", **how), WEIGHTS)]


REFERENCE = ["p"]


@pytest.mark.parametrize(
    ("replies", "learnt"),
    [
        # both are bad, whatever a judge finds them relevant
        ([{"people": {"polite": 0.0}}, {"people": {"polite": 0.0}, "judge": {"relevant": 0.2}}], REFERENCE),
        # people prefer the second, though the first has the higher reward: 0.72 against 0.36
        ([{"people": {"polite": 0.0}}, {"people": {"polite": 1.0}, "judge": {"relevant": 0.2}}], ["p/1"]),
        # better than the other, and bad all the same: one in two says so
        ([{"people": {"polite": 0.5}}, {"people": {"polite": 0.0}}], REFERENCE),
        # all are good: none is preferred
        ([{"people": {"polite": 1.0}}, {"people": {"polite": 1.0}}], REFERENCE),
        # by weight 0.8 against 0.2
        ([{"people": {"polite": 1.0, "relevant": 0.0}}, {"people": {"polite": 0.0, "relevant": 1.0}}], ["p/1"]),
        # labelled for other criteria, they cannot be compared
        ([{"people": {"polite": 1.0}}, {"people": {"relevant": 0.0}}], REFERENCE),
        # a criterion without weight is no part of what is wanted
        ([{"people": {"watched": 1.0}}, {"people": {"watched": 0.0}}], REFERENCE),
        # a gate stops it
        ([{"people": {"polite": 1.0}, "gated": True}, {"people": {"polite": 0.0}}], REFERENCE),
        # equally good to people: the judge's choice
        (
            [
                {"people": {"polite": 0.0}},
                {"people": {"polite": 1.0}, "judge": {"relevant": 0.2}},
                {"people": {"polite": 1.0}},
            ],
            ["p/2"],
        ),
    ],
)
def test_what_people_said_alone_tells_which_reply_is_imitated(replies: list[dict[str, Any]], learnt: list[str]) -> None:
    assert names(judged(*replies)) == learnt


def test_a_truncated_reply_that_people_judged_best_is_not_imitated_when_they_are_masked() -> None:
    replies = [{"people": {"polite": value}} for value in (1.0, 0.7, 0.2)]
    replies[0]["finish_reason"] = "length"  # type: ignore[assignment]
    assert names(judged(*replies)) == ["p/0"]
    assert names(judged(*replies), mask_truncated=True) == ["p/1"]


def test_every_epoch_has_an_order_of_its_own_and_every_step_is_whole() -> None:
    examples = [Example(str(i), [], []) for i in range(5)]
    how = training("raft", batch_size=4, epochs=2)
    assert steps_for(5, how) == 3  # 10 examples in steps of 4
    order = [example.name for example in in_steps(examples, how, 7)]
    assert len(order) == 12
    assert sorted(order[:5]) == sorted(order[5:10]) == list("01234")
    assert order[:5] != order[5:10]
    assert order == [example.name for example in in_steps(examples[::-1], how, 7)]


def test_one_pair_fills_a_step() -> None:
    assert len(in_steps([PreferencePair("a", [], [1], [2])], training("dpo", batch_size=4), 7)) == 4
