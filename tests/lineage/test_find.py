"""What a name can mean, and what is said of one that means nothing or too much."""

from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.errors import StoreError
from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.trace_criterion import CriterionTrace
from rft_pipeline.lineage.trace_record import RecordTrace
from rft_pipeline.lineage.trace_rows import PromptTrace
from rft_pipeline.store import Home, RecordStore
from tests.lineage.small import POLITE_1, POLITE_1_FP, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def prompts(*rows: tuple[str, str, str]) -> dict[str, pl.DataFrame]:
    messages = [f'[{{"role":"user","content":"{text}"}}]' for _, _, text in rows]
    frame = pl.DataFrame(
        {
            "prompt_id": [prompt_id for prompt_id, _, _ in rows],
            "id": [name for _, name, _ in rows],
            "split": "train",
            "messages": messages,
            "fields": "{}",
        }
    )
    return {"prompts.parquet": frame}


def test_a_record_is_found_by_key_address_and_six_digits(finished_home: Path) -> None:
    made = RecordStore(Home.find().store).current("tiny/round_2/checkpoints")
    assert made is not None
    for what in (made.key, made.address, made.fingerprint, made.fingerprint[:6], f"{made.key}/{made.fingerprint[:6]}"):
        found = trace(Home.find(), what)
        assert isinstance(found, RecordTrace)
        assert found.address == made.address


def test_a_criterion_is_found_by_name_and_by_fingerprint(store: Store) -> None:
    store.round("a", 1, store.put("a/policy", "base"), POLITE_1)
    for what in ("a:polite", POLITE_1_FP, POLITE_1_FP[:6]):
        found = trace(store.home, what)
        assert isinstance(found, CriterionTrace)
        assert [version.fingerprint for version in found.versions] == [POLITE_1_FP]


def test_an_unknown_name_lists_what_is_understood_and_what_is_near(finished_home: Path) -> None:
    with pytest.raises(StoreError) as error:
        trace(Home.find(), "tiny/round_2/checkpoint")
    message = str(error.value)
    assert "'tiny/round_2/checkpoint': nothing has this name" in message
    assert "similar names: tiny/round_2/checkpoints" in message
    assert "a rollout      its rollout_id, 16 hex digits" in message


@pytest.mark.parametrize(("what", "near"), [("polite", "tiny:polite"), ("train-1", "train-10")])
def test_near_names_may_be_criteria_and_prompts(finished_home: Path, what: str, near: str) -> None:
    with pytest.raises(StoreError, match=near):
        trace(Home.find(), what)


def test_an_id_of_nothing_has_no_near_names(finished_home: Path) -> None:
    with pytest.raises(StoreError) as error:
        trace(Home.find(), "f" * 16)
    assert "similar names" not in str(error.value)


def test_an_empty_store_says_so(store: Store) -> None:
    with pytest.raises(StoreError, match="has no records; run a campaign"):
        trace(store.home, "a/policy")


def test_a_prompt_id_used_by_two_campaigns_asks_which(store: Store) -> None:
    store.put("a/prompts", "one", files=prompts(("1111111111111111", "7", "Where is my lamp?")))
    store.put("b/prompts", "two", files=prompts(("2222222222222222", "7", "Where is my chair?")))
    with pytest.raises(StoreError, match=r"(?s)'7' matches 2 things.*1111111111111111 \(a: 7\).*\(b: 7\)"):
        trace(store.home, "7")
    found = trace(store.home, "7", campaign="b")
    assert isinstance(found, PromptTrace)
    assert found.prompt.text == "Where is my chair?"
    with pytest.raises(StoreError, match=r"--campaign c: .* has no records of it"):
        trace(store.home, "7", campaign="c")


def test_a_reworded_prompt_keeps_its_id_and_means_the_wording_in_force(store: Store) -> None:
    store.put("a/prompts", "one", files=prompts(("1111111111111111", "7", "Where is my lamp?")))
    store.put("a/prompts", "two", files=prompts(("2222222222222222", "7", "Where is my good lamp?")))
    found, older = trace(store.home, "7"), trace(store.home, "111111")
    assert isinstance(found, PromptTrace)
    assert isinstance(older, PromptTrace)
    assert found.prompt.prompt_id == "2222222222222222"
    assert older.prompt.text == "Where is my lamp?"
    assert [name.is_current for name in older.prompt.names] == [False]


def test_a_fingerprint_shared_by_two_records_asks_which(store: Store) -> None:
    first = store.put("a/policy", "base")
    twin = store.records.root / "b" / "policy" / first.fingerprint
    twin.mkdir(parents=True)
    text = (first.folder / "record.json").read_text(encoding="utf-8")
    (twin / "record.json").write_text(text.replace("a/policy", "b/policy"), encoding="utf-8")
    with pytest.raises(StoreError, match=f"record     b/policy/{first.fingerprint}"):
        trace(store.home, first.fingerprint)
    found = trace(store.home, first.fingerprint, campaign="a")
    assert isinstance(found, RecordTrace)
    assert found.address == first.address
