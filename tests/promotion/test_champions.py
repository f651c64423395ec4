"""The history of champions: who is in force, who was before, and whom a decision had to beat."""

from pathlib import Path

import pytest

from rft_pipeline import champions
from rft_pipeline.champions import Champion, History
from rft_pipeline.errors import StoreError


def crowned(*names: str) -> History:
    """One after the other, each by the eval report of its name."""
    known: History = ()
    for name in names:
        new = Champion(f"tiny/{name}", name, 1, evidence=f"report {name}", report="", why="better")
        known = champions.promoted(known, new)
    return known


def before(known: History) -> str | None:
    found = champions.before(known)
    return found and found.content_hash


def test_the_newest_is_in_force_and_the_one_it_took_over_from_is_previous() -> None:
    known = crowned("a", "b", "c")
    assert known[-1].content_hash == "c"
    assert before(known) == "b"


def test_going_back_twice_goes_back_twice_and_not_to_and_fro() -> None:
    once = champions.back(crowned("a", "b", "c"), "too long")
    twice = champions.back(once, "too short")
    assert [known[-1].content_hash for known in (once, twice)] == ["b", "a"]
    assert [before(known) for known in (once, twice)] == ["a", None]
    with pytest.raises(StoreError, match="no champion before"):
        champions.back(twice, "once more")


def test_a_decision_is_held_against_the_champion_it_had_to_beat() -> None:
    known = crowned("a", "b")
    for evidence, beaten in (("report a", None), ("report b", "a"), ("a new report", "b")):
        found = champions.against(known, evidence)
        assert (found and found.content_hash) == beaten


def test_weights_that_somebody_went_back_from_are_known_until_they_are_promoted_again() -> None:
    known = champions.back(crowned("a", "b"), "worse on the phone")
    assert champions.rolled_back(known, "b")
    assert not champions.rolled_back(known, "a")
    again = Champion("tiny/b", "b", 1, evidence="report b", report="", why="after all", forced=True)
    assert not champions.rolled_back(champions.promoted(known, again), "b")


def test_the_same_weights_again_keep_the_one_before() -> None:
    known = crowned("a", "b", "b")
    assert before(known) == "a"


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = crowned("a", "b")
    with champions.changing(tmp_path, "tiny") as known:
        assert known == ()
        champions.write(tmp_path, "tiny", written)
    assert champions.history(tmp_path, "tiny") == written


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    path = champions.path_of(tmp_path, "tiny")
    path.parent.mkdir()
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(StoreError, match=r"tiny\.json"):
        champions.champion(tmp_path, "tiny")
