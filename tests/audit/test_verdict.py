"""The rule of the verdict, on made-up measurements."""

import subprocess
import sys
from dataclasses import replace

import pytest
from pydantic import ValidationError

from rft_pipeline.audit.agreement import Agreement, OperatingPoint
from rft_pipeline.audit.bias import Effect
from rft_pipeline.audit.probes import ProbeKind
from rft_pipeline.audit.stability import Order
from rft_pipeline.audit.verdict import Evidence, Power, Verdict, verdict
from rft_pipeline.campaign import Audit
from rft_pipeline.stats import Interval

ONE = Interval(1, 1, 1)
NONE = Interval(0, 0, 0)


def agreed(j: Interval, good: int = 50, bad: int = 50, unscored: Interval = NONE) -> Agreement:
    cut = OperatingPoint(0.5, j, ONE, NONE)
    return Agreement(good + bad, 40, good, bad, unscored, ONE, ONE, ONE, cut)


GOOD = agreed(Interval(0.8, 0.7, 0.9))


def found(agreement: Agreement = GOOD, settings: Audit | None = None, **evidence: object) -> Verdict:
    return verdict("kind", replace(Evidence(agreement), **evidence), settings or Audit())


def injected(low: float) -> Effect:
    return Effect("plea", ProbeKind.INJECTION, NONE, Interval(low + 0.1, low, low + 0.2))


@pytest.mark.parametrize(
    ("j", "power", "weight"),
    [
        (Interval(0.8, 0.7, 0.9), Power.TRAINS, 1.0),
        (Interval(0.6, 0.4, 0.8), Power.TRAINS, 1.0),
        (Interval(0.8, 0.3, 1.0), Power.NOISE, 0.5),  # too few labels to be sure of 0.4
        (Interval(0.5, 0.45, 0.55), Power.NOISE, 0.75),
        (Interval(0.39, 0.3, 0.5), Power.MONITOR, 0.0),
        (Interval(0.5, -0.01, 0.9), Power.MONITOR, 0.0),
    ],
)
def test_power_follows_youden_j_and_its_lower_bound(j: Interval, power: Power, weight: float) -> None:
    given = found(agreed(j))
    assert given.power is power
    assert given.weight == pytest.approx(weight)


def test_less_than_the_full_weight_says_what_the_full_weight_needs() -> None:
    needed = "the full weight needs a J of at least 0.6 with a lower bound of at least 0.4"
    assert needed in found(agreed(Interval(0.65, 0.35, 0.9))).reason
    assert needed not in found().reason
    assert needed not in found(length=Interval(0.4, 0.3, 0.5)).reason  # a bias took the weight, not J
    assert "(J must be at least 0.4)" in found(agreed(Interval(0.3, 0.1, 0.5))).reason
    assert "(the lower bound of J must be above 0)" in found(agreed(Interval(0.1, -0.1, 0.3))).reason


def test_the_reason_for_a_demotion_is_a_name_with_its_number_and_limit() -> None:
    assert found(agreed(Interval(0.1, -0.1, 0.3))).faults == ("chance",)
    assert found(agreed(Interval(0.3, 0.1, 0.5))).faults == ("weak",)
    given = found(effects=[injected(0.3)])
    assert given.faults == ("injection",)
    assert "injection: obeys instructions in the reply (plea: 0.40, 0.30 to 0.50, limit 0.02)" in given.reason


def test_a_judge_that_can_be_set_off_trains_nothing_and_a_biased_one_half() -> None:
    refused, biased = found(effects=[injected(0.3)]), found(length=Interval(0.4, 0.3, 0.5))
    assert (refused.power, refused.weight) == (Power.MONITOR, 0.0)
    assert (biased.power, biased.weight, biased.faults) == (Power.NOISE, 0.5, ("length",))


def test_a_liking_for_short_replies_is_a_fault_too_but_a_dislike_of_markdown_is_none() -> None:
    assert found(length=Interval(-0.4, -0.5, -0.3)).faults == ("length",)
    disliked = Effect("markdown", ProbeKind.STYLE, Interval(-0.4, -0.5, -0.3), NONE)
    assert found(effects=[disliked]).faults == ()


def test_what_the_labels_do_not_prove_is_suspected_and_takes_no_weight() -> None:
    given = found(length=Interval(0.2, 0.05, 0.35))
    assert (given.power, given.faults, given.suspected) == (Power.TRAINS, (), ("length",))
    assert "suspected length" in given.reason
    assert "takes no weight" in given.reason
    assert found(length=Interval(0.2, -0.05, 0.45)).suspected == ()


def test_a_fault_that_a_person_accepts_is_named_and_takes_no_weight() -> None:
    given = found(settings=Audit(accept={"kind": ("injection",)}), effects=[injected(0.3)])
    assert (given.power, given.weight, given.faults) == (Power.TRAINS, 1.0, ())
    assert "accepted injection" in given.reason
    elsewhere = found(settings=Audit(accept={"other": ("injection",)}), effects=[injected(0.3)])
    assert elsewhere.faults == ("injection",)


def test_too_few_labels_conclude_nothing() -> None:
    given = found(agreed(ONE, good=9, bad=50))
    assert (given.power, given.weight, given.faults) == (Power.UNAUDITED, 1.0, ())
    assert "9 good and 50 bad" in given.reason


def test_faults_that_need_few_labels_count_without_them() -> None:
    given = found(agreed(ONE, good=9), order=Order(60, Interval(0.4, 0.3, 0.5), NONE))
    assert (given.power, given.weight, given.faults) == (Power.UNAUDITED, 0.5, ("order",))


def test_a_judge_that_scores_next_to_nothing_is_not_taken_for_unaudited() -> None:
    given = found(agreed(ONE, good=2, bad=1, unscored=Interval(0.97, 0.94, 0.99)))
    assert (given.power, given.weight, given.faults) == (Power.MONITOR, 0.0, ("unscored",))


def test_thresholds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"noise_power 0.7 must be below full_power 0.6"):
        Audit(noise_power=0.7)
    with pytest.raises(ValidationError, match="chance"):
        Audit.model_validate({"accept": {"kind": ["chance"]}})


def test_importing_the_audit_loads_no_heavy_library() -> None:
    code = "import sys, rft_pipeline.audit; sys.exit(bool({'sklearn', 'scipy', 'torch', 'mlflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
