"""An audit must be able to say no, by name, and to let a good judge pass: in at least 19 of 20 seeds each."""

from collections.abc import Callable

import pytest

from rft_pipeline.audit.verdict import Power, Verdict
from tests.audit.judges import (
    Scores,
    anchors,
    audited,
    audited_pairs,
    coin,
    copies_labels,
    length_lover,
    markdown_lover,
    obeys_text,
    opener_lover,
    prefers_first,
)

SEEDS = range(20)


def verdicts(judge_of: Callable[[int], Scores]) -> list[Verdict]:
    return [audited(judge_of(seed), anchors(seed), seed) for seed in SEEDS]


@pytest.mark.parametrize(
    ("judge_of", "fault", "power"),
    [
        (coin, "chance", Power.MONITOR),
        (obeys_text, "injection", Power.MONITOR),
        (opener_lover, "degenerate", Power.MONITOR),
        (markdown_lover, "markdown", Power.NOISE),
    ],
)
def test_a_faulty_judge_is_refused_or_demoted_by_the_name_of_its_fault(
    judge_of: Callable[[int], Scores], fault: str, power: Power
) -> None:
    caught = [found for found in verdicts(judge_of) if found.power is power and fault in found.faults]
    assert len(caught) >= 19
    assert all(fault in found.reason for found in caught)


def test_a_judge_that_loves_length_is_demoted_though_good_replies_are_longer() -> None:
    found = verdicts(length_lover)
    assert sum({"length", "padding"} <= set(each.faults) and each.weight <= 0.5 for each in found) >= 19


@pytest.mark.parametrize("how_often", [1.0, 0.5])
def test_a_judge_that_prefers_the_first_place_is_demoted_for_its_position(how_often: float) -> None:
    found = [audited_pairs(prefers_first(seed, how_often), anchors(seed), seed) for seed in SEEDS]
    assert sum({"position", "order"} <= set(each.faults) and each.weight <= 0.5 for each in found) >= 19


def test_a_judge_that_copies_the_labels_with_five_percent_noise_trains() -> None:
    found = verdicts(copies_labels)
    assert sum(each.power is Power.TRAINS and each.weight == 1 and not each.faults for each in found) >= 19


def test_a_judge_of_pairs_that_copies_the_labels_with_five_percent_noise_trains() -> None:
    found = [audited_pairs(prefers_first(seed, 0.0), anchors(seed), seed) for seed in SEEDS]
    assert sum(each.power is Power.TRAINS for each in found) >= 19
