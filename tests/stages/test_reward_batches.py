from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rft_pipeline.campaign import Reward
from rft_pipeline.rewards.batch import Batch, advantages, make_batch

PLAIN = Reward(damping=0, clip=100)
Scores = Mapping[str, Sequence[Sequence[float | None]]]


def batch(
    scores: Scores,
    weights: dict[str, float] | None = None,
    gates: dict[str, float] | None = None,
    how: Reward = PLAIN,
    labels: pl.DataFrame | None = None,
) -> Batch:
    """A batch from scores by criterion, group and rollout; all weights equal unless given."""
    groups = next(iter(scores.values()))
    ids = [(f"p{g}", i) for g, group in enumerate(groups) for i in range(len(group))]
    rollouts = pl.DataFrame(
        {
            "rollout_id": [f"{prompt}-{i}" for prompt, i in ids],
            "prompt_id": [prompt for prompt, _ in ids],
            "sample_index": [i for _, i in ids],
            "completion": "text",
        }
    )
    rows = [
        {"rollout_id": rollout_id, "criterion": name, "score": score}
        for name, groups in scores.items()
        for rollout_id, score in zip(rollouts["rollout_id"], (s for group in groups for s in group), strict=True)
    ]
    table = pl.DataFrame(rows, schema={"rollout_id": pl.String, "criterion": pl.String, "score": pl.Float64})
    return make_batch(rollouts, table, weights or dict.fromkeys(scores, 1 / len(scores)), gates or {}, how, labels)


def column(made: Batch, name: str) -> list[Any]:
    return made.rows[name].to_list()


def test_two_prompts_with_two_rollouts_and_two_criteria_by_hand() -> None:
    made = batch(
        {"polite": [[1.0, 0.0], [0.2, 0.8]], "short": [[0.5, 0.5], [1.0, 0.0]]}, {"polite": 0.75, "short": 0.25}
    )
    assert column(made, "reward") == pytest.approx([0.875, 0.125, 0.4, 0.6])
    # polite is ±1 and ∓1 in its groups, short 0 and ±1: signals ±0.75 and ∓0.5, whose spread is √0.40625 = 0.63738
    assert column(made, "advantage") == pytest.approx([1.17670, -1.17670, -0.78446, 0.78446], abs=1e-5)
    assert column(made, "excluded") == [None] * 4
    assert (made.groups, made.groups_used) == (2, 2)
    assert made.rows["scores"].to_list()[2] == {"polite": 0.2, "short": 1.0}


def test_equal_scores_are_equal_though_their_spread_is_not_quite_0() -> None:
    assert 0 < np.std([0.1, 0.1, 0.1]) < 1e-16
    polite = [[1.0, 0.0, 0.5], [0.0, 0.5, 1.0]]
    made = batch({"polite": polite, "short": [[0.1, 0.1, 0.1], [0.5, 0.5, 0.5]]})
    assert column(made, "advantage") == pytest.approx(column(batch({"polite": polite}), "advantage"))


def test_a_batch_keeps_the_rollouts_columns_and_order() -> None:
    made = batch({"polite": [[1.0, 0.0], [0.2, 0.8]]})
    assert made.rows.columns == [
        *("rollout_id", "prompt_id", "sample_index", "completion"),
        *("labelled", "scores", "gated", "reward", "advantage", "excluded"),
    ]
    assert column(made, "rollout_id") == ["p0-0", "p0-1", "p1-0", "p1-1"]


def test_peoples_labels_replace_scores_and_their_mean_counts() -> None:
    said = [("p0-0", "polite", 0.0), ("p0-0", "polite", 0.5), ("p0-1", "polite", 1.0), ("p9-9", "polite", 1.0)]
    labels = pl.DataFrame(said, schema=["rollout_id", "criterion", "value"], orient="row")
    made = batch({"polite": [[1.0, None], [0.2, 0.8]]}, labels=labels)
    assert column(made, "reward") == [0.25, 1.0, 0.2, 0.8]
    assert made.rows["labelled"].to_list() == [["polite"], ["polite"], [], []]
    assert column(made, "excluded") == [None] * 4  # what the judge left unscored has a score now


def test_a_criterion_that_is_nearly_constant_in_a_group_is_damped() -> None:
    scores = {"loud": [[0.0, 1.0]], "quiet": [[0.51, 0.49]]}
    undamped = batch(scores, {"loud": 0.5, "quiet": 0.5}, how=Reward(damping=0))
    assert undamped.groups_used == 0  # +1 and −1 cancel: 0.02 apart counts as much as 1 apart
    damped = batch(scores, {"loud": 0.5, "quiet": 0.5}, how=Reward(damping=0.1))
    # loud 0.5/0.6 = 0.8333 against quiet 0.01/0.11 = 0.0909
    assert np.sign(column(damped, "advantage")).tolist() == [-1.0, 1.0]


def test_scaling_one_criterion_does_not_drown_another() -> None:
    polite = [[0.9, 0.1, 0.5, 0.4], [0.3, 0.2, 0.8, 0.6]]
    short = [[0.1, 0.7, 0.6, 0.2], [0.9, 0.4, 0.1, 0.3]]
    whispered = [[0.45 + 0.01 * score for score in group] for group in short]
    loud = batch({"polite": polite, "short": short})
    quiet = batch({"polite": polite, "short": whispered})
    assert column(quiet, "advantage") == pytest.approx(column(loud, "advantage"), abs=1e-9)
    summed_first = np.array(
        [p + w for ps, ws in zip(polite, whispered, strict=True) for p, w in zip(ps, ws, strict=True)]
    )
    assert (
        np.corrcoef(summed_first[:4], np.array(polite[0]))[0, 1] > 0.999
    )  # what normalising after summing would learn
    assert np.corrcoef(np.array(column(quiet, "advantage"))[:4], np.array(polite[0]))[0, 1] < 0.9


def test_advantages_are_clipped_before_they_are_centred_again() -> None:
    made = batch({"polite": [[1.0, 0.0, 0.0, 0.0]]}, how=Reward(damping=0, clip=1))
    # √3 and three times −1/√3, clipped to 1 and −0.57735, whose mean is −0.18301
    assert column(made, "advantage") == pytest.approx([1.18301, -0.39434, -0.39434, -0.39434], abs=1e-5)


def test_a_rollout_below_a_gate_is_at_the_floor_whatever_else_it_does_well() -> None:
    scores = {"honest": [[0.4, 0.5, 0.9]], "polite": [[1.0, 0.2, 0.6]]}
    made = batch(scores, gates={"honest": 0.5})
    assert column(made, "gated") == [True, False, False]
    assert column(made, "reward") == pytest.approx([0.0, 0.35, 0.75])
    assert column(made, "advantage")[0] == min(column(made, "advantage")) < 0
    assert made.rows["scores"].to_list()[0] == {"honest": 0.4, "polite": 1.0}
    assert column(made, "excluded") == [None] * 3
    assert column(batch(scores), "advantage")[0] > 0


def test_a_gated_rollout_does_not_change_the_other_criteria() -> None:
    scores = {"honest": [[0.0, 1.0, 1.0, 1.0]], "polite": [[0.9, 0.2, 0.4, 0.6]]}
    advantage = column(batch(scores, gates={"honest": 0.5}), "advantage")
    # polite over the three that pass: mean 0.4, spread 0.1633, so −0.6124, 0, 0.6124 at half weight; the floor is −√0.5
    signal = np.array([-0.70711, -0.61237, 0.0, 0.61237])
    expected = signal / signal.std()
    assert advantage == pytest.approx(list(expected - expected.mean()), abs=1e-4)


def test_an_unscored_rollout_is_out_of_its_groups_baseline() -> None:
    made = batch({"polite": [[1.0, 0.0, None, 0.5], [0.0, 1.0, 0.5, 0.5]]})
    assert column(made, "excluded") == [None, None, "unscored: polite", *[None] * 5]
    assert column(made, "advantage")[2] == 0.0
    assert column(made, "reward")[2] is None
    assert sum(column(made, "advantage")[:4]) == pytest.approx(0)
    assert column(made, "advantage")[3] == pytest.approx(0)  # the middle of the three that count
    assert made.groups_used == 2


def test_an_unscored_rollouts_reward_is_the_mean_of_what_is_scored() -> None:
    made = batch({"polite": [[None, 0.5]], "short": [[0.8, 0.5]]}, {"polite": 0.75, "short": 0.25})
    assert column(made, "reward") == pytest.approx([0.8, 0.5])
    assert column(made, "excluded")[0] == "unscored: polite"


def test_all_criteria_that_are_unscored_are_named() -> None:
    made = batch({"polite": [[None, 0.5, 0.1]], "short": [[None, 0.5, 0.1]]})
    assert column(made, "excluded")[0] == "unscored: polite, short"


def test_a_rollout_without_any_judgement_is_unscored() -> None:
    rollouts = pl.DataFrame({"rollout_id": ["a", "b", "c"], "prompt_id": ["p", "p", "p"]})
    scores = pl.DataFrame({"rollout_id": ["a", "b"], "criterion": ["polite", "polite"], "score": [0.0, 1.0]})
    made = make_batch(rollouts, scores, {"polite": 1.0}, {}, PLAIN)
    assert column(made, "excluded") == [None, None, "unscored: polite"]


def test_a_group_without_variance_is_left_out_and_counted() -> None:
    made = batch({"polite": [[0.7, 0.7], [0.2, 0.8]]})
    assert column(made, "excluded") == ["group without variance"] * 2 + [None] * 2
    assert column(made, "advantage") == pytest.approx([0, 0, -1, 1])
    assert (made.groups, made.groups_used) == (2, 1)


def test_a_group_of_which_one_rollout_is_left_is_left_out() -> None:
    made = batch({"polite": [[0.7, None], [0.2, 0.8]]})
    assert column(made, "excluded") == ["group without variance", "unscored: polite", None, None]


def test_a_batch_without_any_variance_trains_nothing() -> None:
    made = batch({"polite": [[0.5, 0.5], [None, None]]})
    assert column(made, "advantage") == [0.0] * 4
    assert made.groups_used == 0


def test_a_criterion_of_weight_zero_is_ignored() -> None:
    weighed = batch({"polite": [[1.0, 0.0], [0.2, 0.8]]})
    beside = batch(
        {"polite": [[1.0, 0.0], [0.2, 0.8]], "watched": [[0.0, 1.0], [None, 0.3]]}, {"polite": 1.0, "watched": 0.0}
    )
    for name in ("reward", "advantage", "excluded"):
        assert column(beside, name) == column(weighed, name)
    assert beside.rows["scores"].to_list()[2] == {"polite": 0.2, "watched": None}


def test_a_gate_of_weight_zero_still_gates() -> None:
    made = batch(
        {"polite": [[1.0, 0.5]], "honest": [[0.0, 1.0]]}, {"polite": 1.0, "honest": 0.0}, gates={"honest": 0.5}
    )
    assert column(made, "gated") == [True, False]
    assert column(made, "reward") == [0.0, 0.5]


def test_a_gate_that_could_not_be_judged_excludes_even_without_weight() -> None:
    made = batch(
        {"polite": [[1.0, 0.5, 0.1]], "honest": [[None, 1.0, 1.0]]},
        {"polite": 1.0, "honest": 0.0},
        gates={"honest": 0.5},
    )
    assert column(made, "excluded") == ["unscored: honest", None, None]
    assert column(made, "advantage")[0] == 0.0


def test_a_criterion_may_be_called_like_a_column() -> None:
    made = batch({"completion": [[1.0, 0.0], [0.2, 0.8]]})
    assert column(made, "reward") == [1.0, 0.0, 0.2, 0.8]
    assert column(made, "completion") == ["text"] * 4


score_lists = st.lists(st.lists(st.floats(0, 1) | st.none(), min_size=4, max_size=4), min_size=1, max_size=5)


@given(score_lists, st.floats(0, 1), st.floats(0.1, 5))
def test_advantages_are_finite_bounded_and_zero_mean_over_each_groups_used_rollouts(
    groups: list[list[float | None]], damping: float, clip: float
) -> None:
    second = [[None if score is None else 1 - score**2 for score in group] for group in groups]
    made = batch({"polite": groups, "short": second}, how=Reward(damping=damping, clip=clip))
    advantage = made.rows["advantage"].to_numpy()
    assert np.isfinite(advantage).all()
    assert np.abs(advantage).max() <= 2 * clip + 1e-9
    assert (advantage[made.rows["excluded"].is_not_null().to_numpy()] == 0).all()
    for _, group in made.rows.group_by("prompt_id"):
        assert group["advantage"].sum() == pytest.approx(0, abs=1e-6)
    rewards = made.rows["reward"].drop_nulls()
    assert rewards.is_between(0, 1 + 1e-12).all()


def test_the_spread_of_the_batch_is_one_before_clipping() -> None:
    rng = np.random.default_rng(0)
    score_NC, group_N = rng.random((40, 3)), np.repeat(np.arange(5), 8)
    advantage_N, flat_N = advantages(
        score_NC, np.array([0.5, 0.3, 0.2]), np.zeros(40, dtype=bool), group_N, np.ones(40, dtype=bool), PLAIN
    )
    assert advantage_N.std() == pytest.approx(1)
    assert not flat_N.any()
