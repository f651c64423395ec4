from typing import Any

import pytest
from pydantic import ValidationError

from rft_pipeline.rules import Rollout
from rft_pipeline.rules.answer import NumericAnswer


def answered(completion: str, reference: Any, **settings: Any) -> float | None:
    return NumericAnswer(**settings)(Rollout("How many?", completion, "stop", {"reference": reference})).score


@pytest.mark.parametrize(
    ("completion", "reference"),
    [
        ("First 3, then 42.", 42),
        ("答案是42。", "42"),
        ("It is **1,234.50**.", 1234.5),
        ("1\u202f234 in all", "1,234"),
        ("That is −5", -5),
        ("between 10-20", 20),
        ("-$5.00", "-$5"),
        (r"\boxed{\frac{1}{2}}, as 3 shows", 0.5),
        (r"\boxed{7} or rather $\boxed{x = {8}}$ in 9 steps", 8),
        ("1½ cups", "3/2"),
        ("1 3/4", 1.75),
        ("1.5 × 10⁻³", "1.5e-3"),
        ("2^10", 1024),
        ("50%", 0.5),
        ("50 %", 50),
        ("50", "50%"),
        ("42 m2", 42),
        (r"\boxed{36\text{ cm}^2}", 36),
        ("36 cm^2", 36),
        ("9.81 m/s^{2}", 9.81),
        (r"\boxed{\text{36}}", 36),
        (r"\boxed{-\dfrac{1}{2}}", -0.5),
        (r"\boxed{12\%}", "12%"),
        (r"\$12", 12),
        (r"\boxed{1\frac{3}{4}\text{ cups}}", 1.75),
        (r"\boxed{x = 3 + 4 = 7}", 7),
        (r"\boxed{90^\circ}", 90),
        ("12345678901234567890", "12345678901234567890"),
    ],
)
def test_the_last_number_is_the_answer_however_it_is_written(completion: str, reference: Any) -> None:
    assert answered(completion, reference) == 1.0


@pytest.mark.parametrize(
    ("completion", "reference"),
    [
        ("", 42),
        ("forty-two", 42),
        ("42, no, 43", 42),
        ("1.234,50", 1234.5),
        ("1 234", 1234),
        ("1.2.3", 3),
        ("1/0", 1),
        ("1e999999999", 1),
        ("1234567", 1234568),
    ],
)
def test_a_wrong_number_or_none_scores_zero(completion: str, reference: Any) -> None:
    assert answered(completion, reference) == 0.0


@pytest.mark.parametrize("completion", [r"\boxed{5\sqrt{2}}", r"\boxed{\sqrt{2}}", "5√2", r"\boxed{2\pi}"])
def test_a_root_or_a_multiple_of_pi_is_not_read_as_the_number_in_it(completion: str) -> None:
    assert [answered(completion, reference) for reference in (2, 5)] == [None, None]


@pytest.mark.parametrize("box", [r"\frac{\sqrt{3}}{2}", "3x+2", r"\frac{x}{2}", r"\log 2", "2 or 3", "(2, 3)", "2-3"])
def test_a_box_that_holds_more_than_a_number_and_its_unit_is_not_read_as_a_number_in_it(box: str) -> None:
    assert [answered(rf"\boxed{{{box}}}", reference) for reference in (2, 3)] == [None, None]


def test_the_decimal_mark_says_what_point_and_comma_mean() -> None:
    assert answered("1.234,50", 1234.5, decimal=",") == 1.0
    assert answered("1,234.50", 1234.5, decimal=",") == 0.0


def test_a_marked_answer_is_the_first_number_after_the_last_mark() -> None:
    assert answered("#### 1 no #### 42 in 3 steps", 42, after="####") == 1.0
    assert answered("42", 42, after="####") == 0.0


def test_of_two_tolerances_the_wider_one_counts() -> None:
    assert answered("99", 100, relative_tolerance=0.01) == 1.0
    assert answered("98.9", 100, relative_tolerance=0.01) == 0.0
    assert answered("98", 100, relative_tolerance=0.01, absolute_tolerance=2) == 1.0


@pytest.mark.parametrize("reference", [None, "", "about 5", "3 or 4", True, [4], "1/0"])
def test_without_a_number_to_compare_with_there_is_no_score(reference: Any) -> None:
    assert answered("4", reference) is None


def test_a_broken_mark_is_refused() -> None:
    with pytest.raises(ValidationError, match="not a regular expression"):
        NumericAnswer(after="(")
