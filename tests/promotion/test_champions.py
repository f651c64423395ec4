"""The history of champions: who is in force, who was before, and whom a decision had to beat."""

from pathlib import Path

import pytest

from rft_pipeline.errors import StoreError
from rft_pipeline.store import champions
from rft_pipeline.store.champions import Champion, History


def promoted_in_turn(*names: str) -> History:
    """One after the other, each by the eval report of its name."""
    known: History = ()
    for name in names:
        new = Champion(f"tiny/{name}", name, 1, evidence=f"report {name}", report="", why="better")
        known = champions.promote(known, new)
    return known


def before(known: History) -> str | None:
    found = champions.previous(known)
    return found and found.content_hash


def test_the_newest_is_in_force_and_the_one_it_took_over_from_is_previous() -> None:
    known = promoted_in_turn("a", "b", "c")
    assert known[-1].content_hash == "c"
    assert before(known) == "b"


def test_going_back_twice_goes_back_twice_and_not_to_and_fro() -> None:
    once = champions.rollback(promoted_in_turn("a", "b", "c"), "too long")
    twice = champions.rollback(once, "too short")
    assert [known[-1].content_hash for known in (once, twice)] == ["b", "a"]
    assert [before(known) for known in (once, twice)] == ["a", None]


def test_from_the_first_champion_a_rollback_leads_to_base_and_from_there_nowhere() -> None:
    known = champions.rollback(promoted_in_turn("a"), "worse than base")
    assert champions.current(known) is None
    assert (champions.previous(known), beaten(known, "report a")) == (None, None)
    assert champions.rollback_reason(known, "a") == "worse than base"
    with pytest.raises(StoreError, match="there is no champion to roll back"):
        champions.rollback(known, "once more")
    again = champions.promote(known, Champion("tiny/a", "a", 1, evidence="report a", report="", why="after all"))
    assert before(again) is None
    assert champions.rollback_reason(again, "a") is None
    assert beaten(again, "report a") is None


def test_a_chain_is_all_that_rollbacks_lead_back_to() -> None:
    known = champions.rollback(promoted_in_turn("a", "b", "c"), "too long")
    assert [each.content_hash for each in champions.rollback_chain(known)] == ["b", "a"]
    assert champions.rollback_chain(champions.rollback(promoted_in_turn("a"), "worse")) == []


def beaten(known: History, evidence: str) -> str | None:
    found = champions.to_beat(known, evidence)
    return found and found.content_hash


def test_rounds_are_held_against_the_champion_in_force_and_on_its_own_report_against_the_one_before() -> None:
    known = promoted_in_turn("a", "b")
    assert [beaten(known, f"report {name}") for name in ("a", "b", "c")] == ["b", "a", "b"]
    again = Champion("tiny/c", "c", 2, evidence="report b", report="", why="after all", forced=True)
    assert beaten(champions.promote(known, again), "report b") == "a"
    assert beaten(promoted_in_turn("a"), "report a") is None


def test_whom_a_person_went_back_to_had_to_beat_whom_it_had_to_beat_before() -> None:
    known = champions.rollback(promoted_in_turn("a", "b", "c"), "too long")
    assert [beaten(known, f"report {name}") for name in ("a", "b", "c")] == ["b", "a", "b"]


def test_weights_that_somebody_went_back_from_are_known_until_they_are_promoted_again() -> None:
    known = champions.rollback(promoted_in_turn("a", "b"), "worse on the phone")
    assert champions.rollback_reason(known, "b") == "worse on the phone"
    assert champions.rollback_reason(known, "a") is None
    again = Champion("tiny/b", "b", 1, evidence="report b", report="", why="after all", forced=True)
    assert champions.rollback_reason(champions.promote(known, again), "b") is None


def test_the_same_weights_again_keep_their_report_and_the_one_before() -> None:
    again = Champion("tiny/b", "b", 1, evidence="report c", report="", why="once more")
    known = champions.promote(promoted_in_turn("a", "b"), again)
    assert before(known) == "a"
    assert (known[-1].evidence, known[-1].why) == ("report b", "once more")


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = (*champions.rollback(promoted_in_turn("a"), "worse"), *promoted_in_turn("b"))
    with champions.locked(tmp_path, "tiny") as known:
        assert known == ()
        champions.write(tmp_path, "tiny", written)
    assert champions.history(tmp_path, "tiny") == written


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    path = champions.path_of(tmp_path, "tiny")
    path.parent.mkdir()
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(StoreError, match=r"tiny\.json"):
        champions.champion(tmp_path, "tiny")
