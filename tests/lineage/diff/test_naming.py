"""Naming records of the finished tiny campaign."""

from pathlib import Path

import pytest

from rft_pipeline.errors import StoreError
from rft_pipeline.lineage.diff.naming import named
from rft_pipeline.store import Home, Record, RecordStore

KEY = "tiny/round_1/judge_scores"


@pytest.fixture
def records(tmp_path: Path) -> RecordStore:
    """Three records of one key made a day apart, the last in force, and one of another key."""
    store = RecordStore(tmp_path)
    for day, fingerprint in enumerate(("abcdef0123456789", "abcdef9876543210", "1234567890abcdef"), start=1):
        _commit(store, Record(KEY, fingerprint, {"stage": "judge_scores"}, "c", created=f"2026-01-0{day}"))
    _commit(store, Record("tiny/rubric", "fedcba9876543210", {"stage": "rubric"}, "c", created="2026-01-04"))
    return store


def _commit(store: RecordStore, record: Record) -> None:
    with store.workdir(record.key) as folder:
        store.commit(record, folder)


def fingerprint_of(records: RecordStore, name: str) -> str:
    return named(records, name).fingerprint


def test_a_key_is_the_record_in_force(records: RecordStore) -> None:
    assert fingerprint_of(records, KEY) == "1234567890abcdef"
    records.make_current(named(records, f"{KEY}/abcdef9876543210"))
    assert fingerprint_of(records, KEY) == "abcdef9876543210"
    assert fingerprint_of(records, "tiny/rubric") == "fedcba9876543210"


def test_previous_is_the_one_made_before_the_one_in_force(records: RecordStore) -> None:
    assert fingerprint_of(records, f"{KEY}@previous") == "abcdef9876543210"
    records.make_current(named(records, f"{KEY}/abcdef9876543210"))
    assert fingerprint_of(records, f"{KEY}@previous") == "abcdef0123456789"
    with pytest.raises(StoreError, match="tiny/rubric@previous: no record was made before tiny/rubric/fedcba"):
        named(records, "tiny/rubric@previous")


def test_six_digits_of_a_fingerprint_name_a_record_when_no_other_begins_so(records: RecordStore) -> None:
    assert fingerprint_of(records, "123456") == "1234567890abcdef"
    assert fingerprint_of(records, "abcdef0") == "abcdef0123456789"
    assert fingerprint_of(records, "fedcba9876543210") == "fedcba9876543210"
    with pytest.raises(StoreError, match=f"abcdef: 2 records match: {KEY}/abcdef0123456789, {KEY}/abcdef9876543210"):
        named(records, "abcdef")


def test_an_address_may_be_cut(records: RecordStore) -> None:
    assert fingerprint_of(records, f"{KEY}/abcdef0123456789") == "abcdef0123456789"
    assert fingerprint_of(records, f"{KEY}/abcdef98") == "abcdef9876543210"
    assert fingerprint_of(records, f"{records.root}/{KEY}/abcdef98/") == "abcdef9876543210"


def test_what_is_not_there_is_answered_with_what_is(records: RecordStore) -> None:
    with pytest.raises(StoreError, match=f"no record {KEY}/000000; there are: {KEY}/abcdef0123456789, .*name a record"):
        named(records, f"{KEY}/000000")
    for nothing in ("12345", "tiny/round_7/rollouts", "../tiny", "*/*", "/etc", "/etc/abcdef", ""):
        with pytest.raises(StoreError, match="name a record by its key"):
            named(records, nothing)


def test_every_record_of_a_campaign_goes_by_key_address_and_fingerprint(finished_home: Path) -> None:
    records = RecordStore(Home.find().store)
    everything = records.all("tiny")
    assert len(everything) == 15
    for record in everything:
        for name in (record.key, record.address, record.fingerprint):
            assert named(records, name).address == record.address
