import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from rft_pipeline.audit.agreement import Scale
from rft_pipeline.audit.annotators import krippendorff_alpha, people
from rft_pipeline.stats import Resamples

NAN = math.nan
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", data of part C: four observers, twelve units.
OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T


@pytest.mark.parametrize(("scale", "published"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_alpha_of_krippendorffs_own_example(scale: Scale, published: float) -> None:
    drawn = Resamples.draw(np.arange(12), 200, seed=0)
    found = krippendorff_alpha(OBSERVERS, scale, drawn)
    assert found.mean == pytest.approx(published, abs=0.0005)
    assert found.lower95 < found.mean < found.upper95


def test_alpha_of_people_who_never_differ_is_one_and_of_one_value_unknown() -> None:
    drawn = Resamples.draw(np.arange(4), 50, seed=0)
    assert krippendorff_alpha(np.array([[0, 0], [1, 1], [0, 0], [1, 1.0]]), "nominal", drawn).mean == 1
    assert math.isnan(krippendorff_alpha(np.ones((4, 2)), "nominal", drawn).mean)


def test_every_two_people_are_compared_where_both_gave_a_label() -> None:
    label_NA = np.array([[1, 1, NAN], [0, 0, 0], [1, 0, 1], [0, 0, 1], [1, 1, 1]])
    found = people(("ada", "ben", "cyd"), label_NA, "nominal", Resamples.draw(np.arange(5), 100, seed=0))
    assert [(*pair.annotators, pair.rollouts) for pair in found.pairs] == [
        ("ada", "ben", 5),
        ("ada", "cyd", 4),
        ("ben", "cyd", 4),
    ]
    assert [pair.agreement.mean for pair in found.pairs] == [0.8, 0.75, 0.5]
    wanted = cohen_kappa_score([1, 0, 1, 0, 1], [1, 0, 0, 0, 1])
    assert found.pairs[0].cohen_kappa.mean == pytest.approx(wanted)
    assert found.cohen_kappa == pytest.approx(np.mean([pair.cohen_kappa.mean for pair in found.pairs]))
