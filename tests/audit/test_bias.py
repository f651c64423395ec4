import math
import re

import numpy as np
import pytest

from rft_pipeline.audit.bias import effects, length_correlation, own_family_gap
from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.probes import PROBES, ProbeKind
from rft_pipeline.audit.rows import WHOLE
from rft_pipeline.rules import Rollout
from rft_pipeline.stats import Resamples

REPLY = Rollout("Where is my lamp?", "I am sorry about the lamp. Please send me your order number.")


def labelled(label: list[int], score: list[float]) -> tuple[Labelled, Resamples]:
    given = Labelled(np.arange(len(label)), np.array(label), np.array(score))
    return given, Resamples.draw(given.prompt_N, 300, seed=0)


def test_a_judge_may_like_long_replies_as_far_as_people_do() -> None:
    """Good replies are longer and score higher, but within good and within bad the score does not follow length."""
    label, length = [0] * 4 + [1] * 4, np.arange(8)
    fair, drawn = labelled(label, [0.1, 0.2, 0.2, 0.1, 0.8, 0.9, 0.9, 0.8])
    assert length_correlation(fair, length, drawn).mean == pytest.approx(0)
    rising, drawn = labelled(label, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert length_correlation(rising, length, drawn).mean == pytest.approx(1)


def test_the_partial_correlation_is_that_of_ranks_less_their_means_per_label() -> None:
    rng = np.random.default_rng(0)
    label, length = rng.integers(0, 2, 50), rng.permutation(50)
    given, drawn = labelled(label.tolist(), (length / 100 + rng.random(50) / 2).tolist())
    rank = given.score_N.argsort().argsort().astype(float)
    x, y = (each - np.array([each[label == one].mean() for one in label]) for each in (rank, length.astype(float)))
    wanted = (x * y).sum() / math.sqrt((x * x).sum() * (y * y).sum())
    assert length_correlation(given, length, drawn).mean == pytest.approx(wanted)


def test_the_own_familys_gap_is_taken_within_a_label_and_weighted_by_its_replies() -> None:
    """Good: own 0.9 and 0.8 against 0.7, a gap of 0.15; bad: own 0.4 against 0.1, of 0.3; nobody says of the last."""
    given, drawn = labelled([1, 1, 1, 0, 0, 0], [0.9, 0.8, 0.7, 0.4, 0.1, 0.0])
    own = np.array([1, 1, 0, 1, 0, math.nan])
    assert own_family_gap(given, own, drawn).mean == pytest.approx((2 * 0.15 + 0.3) / 3)
    assert math.isnan(own_family_gap(given, np.array([1, 1, 1, 0, 0, 0]), drawn).mean)


def test_scores_that_do_not_vary_follow_nothing() -> None:
    given, drawn = labelled([0, 1, 0, 1], [0.5] * 4)
    assert math.isnan(length_correlation(given, np.arange(4), drawn).mean)


def test_a_probes_effect_is_the_mean_shift_and_the_bad_that_newly_pass() -> None:
    # Bad anchors: 0.1 → 0.6 passes, 0.2 → 0.3 does not, 0.7 passed before. Good: 0.9 → 0.8.
    given, drawn = labelled([0, 0, 0, 1], [0.1, 0.2, 0.7, 0.9])
    (found,) = effects(given, {"order": np.array([0.6, 0.3, 0.7, 0.8])}, drawn)
    assert found.shift.mean == pytest.approx((0.5 + 0.1 + 0 - 0.1) / 4)
    assert found.gain.mean == pytest.approx(1 / 3)
    assert (found.name, found.kind) == ("order", ProbeKind.INJECTION)


def test_a_reply_without_content_that_a_gate_stops_does_not_pass_but_an_injection_does() -> None:
    given, drawn = labelled([0, 0, 1], [0.1, 0.7, 0.9])
    after = dict.fromkeys(("echo", "order"), np.array([0.9, 0.9, 0.9]))
    ungated = {effect.name: effect.gain.mean for effect in effects(given, after, drawn)}
    assert ungated == {"echo": 0.5, "order": 0.5}  # the second bad one passed before
    stopped = np.array([True, True, True])
    gated = {"echo": stopped, "order": stopped, WHOLE: np.array([False, False, False])}
    found = {effect.name: effect.gain.mean for effect in effects(given, after, drawn, gated=gated)}
    assert found == {"echo": -0.5, "order": 0.5}


def test_added_text_must_beat_as_much_neutral_text() -> None:
    given, drawn = labelled([0, 0], [0.1, 0.1])
    after = {"filler": np.array([0.6, 0.6]), "order": np.array([0.6, 0.6]), "padding": np.array([0.6, 0.6])}
    found = {effect.name: effect for effect in effects(given, after, drawn)}
    assert found["order"].gain.mean == 0
    assert found["order"].shift.mean == 0
    assert found["padding"].gain.mean == 1


def test_an_edited_reply_without_a_score_is_left_out() -> None:
    given, drawn = labelled([0, 0, 1], [0.1, 0.2, 0.9])
    (found,) = effects(given, {"markdown": np.array([math.nan, 0.4, 0.9])}, drawn)
    assert found.shift.mean == pytest.approx(0.1)


def test_a_probe_that_does_not_exist_is_an_error() -> None:
    given, drawn = labelled([0, 1], [0, 1])
    with pytest.raises(ValueError, match="unknown probes shouting; allowed: filler, padding"):
        effects(given, {"shouting": np.zeros(2)}, drawn)


def test_style_probes_keep_every_word_and_degenerate_ones_none_of_the_reply() -> None:
    for probe in PROBES:
        edited = probe.edit(REPLY)
        assert edited != REPLY.completion
        kept = all(word in edited for word in re.findall(r"\w+", REPLY.completion))
        assert kept is (probe.kind is not ProbeKind.DEGENERATE)


def test_names_of_probes_are_unique_and_the_filler_is_as_long_as_what_is_measured_above_it() -> None:
    assert len({probe.name for probe in PROBES}) == len(PROBES)
    added = {probe.name: len(probe.edit(REPLY)) for probe in PROBES if probe.adds}
    filler = len(next(probe for probe in PROBES if probe.kind is ProbeKind.CONTROL).edit(REPLY))
    assert max(added.values()) <= filler + 2


def test_markdown_makes_each_sentence_a_bullet() -> None:
    markdown = next(probe for probe in PROBES if probe.name == "markdown")
    assert markdown.edit(REPLY) == (
        "## Answer\n\n- **I** am sorry about the lamp.\n- **Please** send me your order number."
    )


@pytest.mark.parametrize(("injections", "lower"), [(1, 0.025), (2, 0.0125), (5, 0.005)])
def test_the_probes_of_a_kind_share_one_error_equally(injections: int, lower: float) -> None:
    """Of two bad anchors an edit lifts one. Resamples draw it 0 to 1000 times of 1000: gains of 0, 0.001 … 1."""
    given = Labelled(np.array([0, 1]), np.array([0, 0]), np.array([0.1, 0.1]))
    times = np.array([[1, 1], *([i, 1000 - i] for i in range(1001))], dtype=float)
    names = [probe.name for probe in PROBES if probe.kind is ProbeKind.INJECTION][:injections]
    after = {name: np.array([0.9, 0.1]) for name in (*names, "padding")}
    found = {each.name: each.gain for each in effects(given, after, Resamples(given.prompt_N, times))}
    for name in names:
        assert (found[name].lower95, found[name].upper95) == pytest.approx((lower, 1 - lower))
    assert found["padding"].lower95 == pytest.approx(0.025)
