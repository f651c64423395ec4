"""Cells that a spreadsheet must not compute, and values as people write them."""

import pytest

from rft_pipeline.labels.cells import escaped, restored, value_of
from rft_pipeline.labels.exports import LabelQuestion

YES_NO = LabelQuestion("courteous")
GRADED = LabelQuestion("helpful", ("bad", "fair", "good"))


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\n=1", "'=1", "＝1", "12e4567890123456", "0000123456789012"]
)
def test_what_a_spreadsheet_would_compute_gets_an_apostrophe_and_loses_it_again(text: str) -> None:
    assert escaped(text) == f"'{text}"
    assert restored(escaped(text)) == text


@pytest.mark.parametrize("text", ["", "hello", "'tis fine", "a=b", "a\n- b", "😀 = 😀", "abc4567890123456", '"x"'])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert escaped(text) == text
    assert restored(text) == text


@pytest.mark.parametrize(
    ("cell", "value"),
    [("yes", 1), (" No ", 0), ("Y", 1), ("TRUE", 1), ("1", 1), ("0", 0), ("0.25", 0.25), ("0,25", 0.25), (True, 1)],
)
def test_values_as_people_write_them(cell: object, value: float) -> None:
    assert value_of(cell, YES_NO) == value


@pytest.mark.parametrize("cell", ["maybe", "2", "-1", "50%", "nan", "inf", "1e-3", float("nan"), 1.5, [1]])
def test_what_is_no_label_is_refused(cell: object) -> None:
    with pytest.raises(ValueError, match="is not a label: write yes, no or a number from 0 to 1"):
        value_of(cell, YES_NO)


def test_grades_become_equal_steps_from_0_to_1() -> None:
    assert [value_of(cell, GRADED) for cell in ("1", "2", 3, "3.0")] == [0, 0.5, 1, 1]
    for cell in ("0", "4", "1.5", "yes", True):
        with pytest.raises(ValueError, match="is not a grade: write an integer from 1 to 3"):
            value_of(cell, GRADED)
