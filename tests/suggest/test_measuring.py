"""Two judges on the same labels, and the choice among several: numbers that can be checked by hand."""

import numpy as np
import pytest

from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.judges import ContrastJudge
from rft_pipeline.suggest.candidates import Candidate
from rft_pipeline.suggest.measuring import Tried, best, compare

LABELS = np.array([1, 0] * 10)
PROMPTS = np.repeat(np.arange(10), 2)
NAN = float("nan")


def scored(*pattern: float) -> Labelled:
    """The scores of ten prompts, each with a good and a bad reply, in turn."""
    return Labelled(PROMPTS, LABELS, np.resize(np.array(pattern), 20))


def tried(name: str, *pattern: float) -> Tried:
    judge = ContrastJudge(protocol="contrast", positive=name, negative="bad")
    return Tried(Candidate({}, judge), None, scored(*pattern) if pattern else None)


def test_a_judge_that_sees_no_difference_against_one_that_sees_all() -> None:
    found = compare(scored(0.4), scored(0.9, 0.1), 200, 0)
    assert (found.before.agreement.auc.mean, found.after.agreement.auc.mean) == (0.5, 1.0)
    assert found.auc == (0.5, 0.5, 0.5)
    assert (found.before.agrees.mean, found.after.agrees.mean) == (0.5, 1.0)
    assert (found.before.agreement.cohen_kappa.mean, found.cohen_kappa.mean) == (0.0, 1.0)
    assert (found.of(True), found.of(False)) == (found.auc, found.cohen_kappa)


def test_the_difference_is_over_the_replies_that_both_scored() -> None:
    """Of the first ten replies the new judge is wrong about each, and the old one scored none of the others."""
    before = Labelled(PROMPTS, LABELS, np.array([0.9, 0.1] * 5 + [NAN] * 10))
    after = Labelled(PROMPTS, LABELS, np.array([0.1, 0.9] * 5 + [0.9, 0.1] * 5))
    found = compare(before, after, 200, 0)
    assert found.auc.mean == -1.0
    assert found.after.agreement.auc.mean == pytest.approx(0.5)
    assert found.before.agreement.unscored_share.mean == 0.5


def test_the_first_of_the_best_is_chosen_and_none_that_leaves_replies_unscored() -> None:
    now, same, good = tried("now", 0.4, 0.4), tried("same", 0.5), tried("good", 0.9, 0.1)
    silent = tried("silent", 0.9, 0.1, NAN, NAN)
    assert silent.auc == 1.0
    assert best([now, same], 0.2) is now
    assert best([now, silent, same, good, tried("again", 0.8, 0.2)], 0.2) is good
    assert best([now, tried("cannot")], 0.2) is now
