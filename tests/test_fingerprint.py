import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rft_pipeline.fingerprint import SHORT, canonical_json, file_sha256, fingerprint, seed_of

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("aé1 "),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=10,
)


def test_a_value_has_one_spelling() -> None:
    assert canonical_json({"b": [1, None, True], "a": "é"}) == '{"a":"é","b":[1,null,true]}'


def test_order_of_keys_and_kind_of_sequence_do_not_matter() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": (1, 2), "a": 1})


def test_a_whole_float_is_the_integer_it_equals() -> None:
    assert fingerprint(1.0) == fingerprint(1)
    assert fingerprint(-0.0) == fingerprint(0)
    assert fingerprint({"weight": 2.0}) == fingerprint({"weight": 2})


def test_values_that_differ_have_different_fingerprints() -> None:
    values = [0, 1, 1.5, "1", True, None, "", [], {}, [1], {"1": 1}, [[1]]]
    assert len({fingerprint(value) for value in values}) == len(values)


def test_a_fingerprint_is_pinned() -> None:
    assert fingerprint({"a": 1}) == "015abd7f5cc57a2d"
    assert SHORT == 16


@given(PLAIN)
def test_plain_data_always_has_a_fingerprint(value: object) -> None:
    assert fingerprint(value) == fingerprint([value][0])
    assert len(fingerprint(value)) == SHORT


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_has_no_fingerprint(value: float) -> None:
    with pytest.raises(ValueError, match=r"\$\.a\[0\].*finite"):
        fingerprint({"a": [value]})


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes", Path("x"), 1j, {1: "one"}])
def test_what_has_several_spellings_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"\$\.a"):
        fingerprint({"a": value})


def test_a_seed_is_stable_and_belongs_to_its_name() -> None:
    assert seed_of(7, "rollout", "p1", 0) == 2494128719168639661
    seeds = {
        seed_of(7, "rollout", "p1", 0),
        seed_of(7, "rollout", "p1", 1),
        seed_of(8, "rollout", "p1", 0),
        seed_of(7, "rollout", "p10"),
    }
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_file_hash_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert file_sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
