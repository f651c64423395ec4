"""What `rft gc` frees, and what it leaves."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from deltalake import DeltaTable

from rft_pipeline.campaign import load_campaign
from rft_pipeline.errors import ConfigError, StoreError
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home, Record, RecordStore, judgements_table, rollouts_table
from rft_pipeline.store.lock import HOLDER
from rft_pipeline.store.tables import Table
from rft_pipeline.upkeep.gc import Garbage, garbage
from rft_pipeline.upkeep.reach import closure
from tests.conftest import copy_finished
from tests.pipeline.stage_process import StageProcess
from tests.runs import edit, engines_counted, made, run
from tests.upkeep.small import collected, counts, make_champion, older, said, skipped, stored, tree

RECORDS = "unneeded records"


def keys(table: Table) -> list[str]:
    return sorted(pl.scan_delta(table.path).select(table.key).collect()[table.key])


def rows() -> dict[str, list[str]]:
    store = Home.find().store
    return {"rollouts": keys(rollouts_table(store)), "judgements": keys(judgements_table(store))}


def addresses(folders: list[Path]) -> list[str]:
    return [folder.relative_to(Home.find().store).as_posix() for folder in folders]


class Edited(NamedTuple):
    """A finished campaign after an edit of its rubric, a run, and gc."""

    folder: Path
    old: list[Record]
    """In force before the edit, and not after it."""
    skipped: list[str]
    """By the plan, before gc."""
    rows: dict[str, list[str]]
    """Keys, before gc."""
    dry: Garbage
    freed: Garbage


@pytest.fixture(scope="module")
def edited(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edited]:
    root = tmp_path_factory.mktemp("edited")
    copy_finished(finished, root)
    folder = root / "data" / "tiny"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("RFT_HOME", str(root / "home"))
        monkeypatch.setenv("RFT_DATA", str(root / "data"))
        before = {node.name: stored(node.name) for node in nodes(load_campaign(folder))}
        shutil.rmtree(root / "home" / "champions")  # a champion's record would stay
        edit(folder / "rubric.yaml", "criteria.0.judge.positive", "You are a very warm and kind agent.")
        after = run(folder)
        old = [record for name, record in before.items() if record.address != after[name].address]
        yield Edited(folder, old, skipped(folder), rows(), collected(yes=False), collected(yes=True))


def test_what_leads_to_what_is_kept_is_kept() -> None:
    above = {"d": ["b", "c"], "c": ["a"], "b": ["a"], "e": ["d"]}
    assert closure(["c"], lambda address: above.get(address, [])) == {"a", "c"}
    assert closure(["d", "lost"], lambda address: above.get(address, [])) == {"a", "b", "c", "d", "lost"}


def test_a_finished_campaign_holds_no_garbage(finished_copy: Path) -> None:
    assert counts(collected(yes=False)) == {}


def test_the_records_that_an_edit_replaced_are_freed_and_the_others_are_sound(edited: Edited) -> None:
    assert sorted(addresses(edited.freed.records)) == sorted(record.address for record in edited.old)
    assert len(edited.old) == 11  # the rubric, what follows from it in round 1, all of round 2, and the promotion
    assert not any(record.folder.exists() for record in edited.old)
    assert edited.freed.bytes > 0
    assert said() == []


def test_what_is_freed_is_what_the_dry_run_said(edited: Edited) -> None:
    assert edited.dry.lines == edited.freed.lines
    assert counts(collected(yes=False)) == {}


def test_rows_of_freed_records_leave_the_tables_and_no_others(edited: Edited) -> None:
    left, found = rows(), counts(edited.freed)
    assert set(left["rollouts"]) == {
        key
        for round_ in (1, 2)
        for stage in ("rollouts", "eval_reports")
        for key in pl.read_parquet(stored(f"round_{round_}/{stage}").path(f"{stage}.parquet"))["rollout_id"]
    }
    for name in ("rollouts", "judgements"):
        assert set(left[name]) < set(edited.rows[name])
        assert found[f"{name} that no record needs"] == len(edited.rows[name]) - len(left[name])


def test_after_gc_the_plan_skips_what_it_skipped_before(edited: Edited) -> None:
    assert len(edited.skipped) == 15
    assert skipped(edited.folder) == edited.skipped
    assert made(run(edited.folder)) == []


def test_after_gc_a_lost_record_is_made_again_from_the_tables_with_the_same_content(edited: Edited) -> None:
    names = ["round_1/rollouts", "round_1/judge_scores", "round_1/eval_reports", "round_2/judge_scores"]
    before = {name: stored(name).content_hash for name in names}
    for name in names:
        shutil.rmtree(stored(name).folder)
    with engines_counted() as loaded:
        again = run(edited.folder, names)
    assert made(again) == names
    assert {name: record.content_hash for name, record in again.items()} == before
    assert loaded == []


def test_a_dry_run_changes_nothing(finished_copy: Path) -> None:
    older("round_1/checkpoints", seed=1)
    shutil.rmtree(Home.find().store / "tiny" / "round_2")
    before = tree(Home.find().root)
    assert {*counts(collected(yes=False))} == {RECORDS, "rollouts that no record needs"}
    assert tree(Home.find().root) == before


def test_what_a_record_in_force_was_made_from_is_kept_though_it_is_not_in_force(finished_copy: Path) -> None:
    batch, unused = older("round_1/reward_batches", seed=1), older("round_1/reward_batches", seed=2)
    checkpoint = older("round_1/checkpoints", seed=1, reward_batches=batch)
    RecordStore(Home.find().store).make_current(checkpoint)
    assert collected(yes=True).records == [unused.folder]
    assert batch.folder.exists()


def test_an_edit_taken_back_in_the_files_keeps_what_the_plan_would_find(finished_copy: Path) -> None:
    first, before = stored("round_1/checkpoints"), skipped(finished_copy)
    RecordStore(Home.find().store).make_current(older("round_1/checkpoints", seed=1))
    assert len(skipped(finished_copy)) == 15
    assert collected(yes=True).records == []
    assert first.folder.exists()
    assert skipped(finished_copy) == before


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("keep.txt", lambda record: f"{record.address}  # for the auditors"),
        ("keep.txt", lambda record: record.mlflow_run_id),
    ],
    ids=["address", "MLflow run"],
)
def test_what_keep_txt_names_is_kept_with_all_it_was_made_from(
    finished_copy: Path, place: str, named: Callable[[Record], str]
) -> None:
    batch, unused = older("round_1/reward_batches", seed=1), older("round_1/reward_batches", seed=2)
    old = older("round_1/checkpoints", seed=1, reward_batches=batch)
    (Home.find().store / place).write_text(f"{named(old)}\n", encoding="utf-8")
    assert collected(yes=True).records == [unused.folder]
    assert old.folder.exists()
    assert batch.folder.exists()


def test_the_champion_and_all_before_it_are_kept_with_all_they_were_made_from(finished_copy: Path) -> None:
    batch, unused = older("round_1/reward_batches", seed=1), older("round_1/reward_batches", seed=2)
    first, second = older("round_1/checkpoints", seed=1, reward_batches=batch), older("round_1/checkpoints", seed=2)
    earliest = older("round_1/checkpoints", seed=3)
    make_champion(earliest, first, second)
    assert collected(yes=True).records == [unused.folder]
    assert earliest.folder.exists()
    assert first.folder.exists()
    assert second.folder.exists()
    assert batch.folder.exists()


@pytest.mark.parametrize("place", ["champion", "keep.txt"])
def test_a_name_of_nothing_frees_nothing(finished_copy: Path, place: str) -> None:
    nothing = replace(older("round_1/checkpoints", seed=1), fingerprint="0123456789abcdef")
    if place == "champion":
        make_champion(nothing)
    else:
        (Home.find().store / place).write_text(f"{nothing.address}\n", encoding="utf-8")
    before = tree(Home.find().store)
    with pytest.raises(StoreError, match="0123456789abcdef"):
        collected(yes=True)
    assert {*tree(Home.find().store)} == {*before}


def test_a_checkpoint_that_another_campaign_starts_from_is_kept(finished_copy: Path) -> None:
    old, unused = older("round_1/checkpoints", seed=1), older("round_1/checkpoints", seed=2)
    second = finished_copy.parent / "second"
    shutil.copytree(finished_copy, second)
    edit(second / "campaign.yaml", "name", "second")
    edit(second / "campaign.yaml", "policy.model", str(old.folder / "checkpoint"))
    assert collected(yes=True).records == [unused.folder]
    assert old.folder.exists()


def test_a_campaign_that_cannot_be_read_frees_nothing(finished_copy: Path) -> None:
    unused = older("round_1/checkpoints", seed=1)
    edit(finished_copy / "campaign.yaml", "rouns", 2)
    with pytest.raises(ConfigError, match="rouns"):
        collected(yes=True)
    assert unused.folder.exists()


def test_a_campaign_at_work_and_all_rows_are_left_alone(finished_copy: Path) -> None:
    store = Home.find().store
    older("round_1/checkpoints", seed=1)
    shutil.rmtree(store / "tiny" / "round_2")
    (store / "other" / "prompts" / ".making-abc").mkdir(parents=True)
    before = rows()
    with RecordStore(store).holding("tiny/round_1/eval_reports"):
        found = collected(yes=True)
    assert (found.being_made, found.records) == (["tiny/round_1/eval_reports"], [])
    assert counts(found) == {"leftovers of killed runs": 1}
    assert rows() == before
    assert counts(collected(yes=False))[RECORDS] == 1


def test_nobody_starts_a_stage_while_things_are_freed(finished_copy: Path) -> None:
    records = RecordStore(Home.find().store)
    with garbage(Home.find(), [load_campaign(finished_copy)], None, free=True):
        for key in ("tiny/prompts", "tiny/round_2/eval_reports"):
            with records.holding_idle([key]) as busy:
                assert busy == [key]
    with records.holding_idle(["tiny/prompts"]) as busy:
        assert busy == []


def test_gc_leaves_a_running_stage_alone_and_after_a_kill_all_that_it_sampled(finished_copy: Path) -> None:
    for where, value in {"group_size": 16, "runtime.batch_size": 4}.items():
        edit(finished_copy / "campaign.yaml", f"rollouts.{where}", value)
    run(finished_copy, ["prompts", "rubric", "policy"])
    before = rows()
    process = StageProcess(["round_1/rollouts"], rest=0.5)
    began = time.monotonic()
    while len(rows()["rollouts"]) == len(before["rollouts"]):
        assert time.monotonic() - began < 60
        time.sleep(0.05)
    found = collected(yes=True)
    assert (found.being_made, counts(found)) == (["tiny/round_1/rollouts"], {})
    process.kill()
    sampled = len(rows()["rollouts"]) - len(before["rollouts"])
    assert 0 < sampled < 48
    assert counts(collected(yes=True)) == {"leftovers of killed runs": 1}
    assert len(rows()["rollouts"]) == len(before["rollouts"]) + sampled
    assert run(finished_copy, ["round_1/rollouts"])["round_1/rollouts"].rows["made"] == 48 - sampled


def test_one_campaign_may_be_collected_by_itself(finished_copy: Path) -> None:
    store = Home.find().store
    for name in ("tiny", "other"):
        (store / name / "prompts" / "0123456789abcdef").mkdir(parents=True)
    assert addresses(collected("other", yes=True).records) == ["other/prompts/0123456789abcdef"]
    assert (store / "tiny" / "prompts" / "0123456789abcdef").is_dir()


def test_tables_end_with_one_file_a_part_and_every_row_once(finished_copy: Path) -> None:
    store = Home.find().store
    table = judgements_table(store)
    table.append(table.rows().head(3).collect())
    before = table.rows().sort("judgement_id").collect()
    assert counts(collected(yes=True)) == {"duplicate judgements": 3}
    assert keys(table) == before["judgement_id"].to_list()
    assert table.rows().sort("judgement_id").collect().equals(before)
    assert len(DeltaTable(table.path).file_uris()) == 4  # one a criterion
    version = DeltaTable(table.path).version()
    collected(yes=True)
    assert DeltaTable(table.path).version() == version


def test_files_that_left_a_table_stay_an_hour_for_whoever_reads_them(finished_copy: Path) -> None:
    table = rollouts_table(Home.find().store)
    begun = pl.scan_delta(table.path)
    stray = Path(table.path) / "part-of-a-killed-writer.parquet"
    stray.write_bytes(b"x" * 1000)
    assert counts(collected(yes=True)) == {}
    assert begun.collect().height == len(keys(table))
    assert stray.exists()
    two_hours_ago = time.time() - 7200
    os.utime(stray, (two_hours_ago, two_hours_ago))
    found = collected(yes=True)
    assert (counts(found), found.bytes) == ({"files of rollouts unused for 1 h": 1}, 1000)
    assert not stray.exists()
    assert begun.collect().height == len(keys(table))


def test_what_a_killed_holder_wrote_of_itself_does_not_make_a_stage_look_at_work(finished_copy: Path) -> None:
    folder = Home.find().store / "tiny" / "round_1" / "rollouts"
    (folder / HOLDER).write_text("{}", encoding="utf-8")
    assert collected(yes=False).being_made == []
