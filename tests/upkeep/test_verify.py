"""What `rft verify` finds in a store that somebody has touched."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from rft_pipeline.store import Home, Record, judgements_table, rollouts_table
from rft_pipeline.store.records import RECORD
from tests.upkeep.small import make_champion, said, stored, tree, verified


def rewrite(record: Record, **changes: object) -> None:
    path = record.folder / RECORD
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_a_finished_campaign_is_sound_and_looking_changes_nothing(finished_copy: Path) -> None:
    home = Home.find()
    before = tree(home.root)
    found = verified()
    assert (found.findings, found.records, found.sound) == ([], 15, True)
    assert found.bytes > 0
    assert tree(home.root) == before


def test_one_altered_byte_is_found(finished_copy: Path) -> None:
    record = stored("round_1/checkpoints")
    path = record.path("checkpoint/model.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    ((level, place, what),) = said()
    assert (level, place) == ("error", f"{record.address}/checkpoint/model.safetensors")
    assert what.startswith("was altered: sha256 is ")
    assert what.endswith(f", was {record.files['checkpoint/model.safetensors']}")
    assert verified().findings[0].do == "remove the folder and run again"


def test_a_file_that_is_gone_and_one_too_many_are_found(finished_copy: Path) -> None:
    record = stored("round_2/eval_reports")
    record.path("report.json").unlink()
    (record.folder / "notes.txt").write_text("mine", encoding="utf-8")
    assert said() == [
        ("error", f"{record.address}/report.json", "is missing"),
        ("error", f"{record.address}/notes.txt", "does not belong to this record"),
    ]


@pytest.mark.parametrize("text", ["{half", "[]", '{"key": "tiny/prompts"}'])
def test_a_record_that_cannot_be_read_is_found(finished_copy: Path, text: str) -> None:
    record = stored("prompts")
    (record.folder / RECORD).write_text(text, encoding="utf-8")
    ((level, place, what),) = said()
    assert (level, place) == ("error", f"{record.address}/{RECORD}")
    assert what.startswith("cannot be read: ")


def test_a_folder_without_its_record_is_found_and_so_is_what_points_there(finished_copy: Path) -> None:
    record = stored("round_2/eval_reports")
    (record.folder / RECORD).unlink()
    assert said() == [
        ("error", f"{record.address}/{RECORD}", "is missing"),
        (
            "warning",
            f"{stored('promotion').address}/{RECORD}",
            f"was made from eval_reports {record.address}, which no longer exists",
        ),
        ("error", f"{record.key}/current", f"points to {record.address}, which does not exist"),
    ]


def test_a_payload_that_is_not_the_fingerprints_is_found(finished_copy: Path) -> None:
    record = stored("round_1/reward_batches")
    settings = record.payload["settings"] | {"clip": 4.0}
    rewrite(record, payload=record.payload | {"settings": settings})
    ((level, place, what),) = said()
    assert (level, place) == ("error", f"{record.address}/{RECORD}")
    assert what.startswith("its payload hashes to ")
    assert what.endswith(f", not to {record.fingerprint}")


def test_a_record_in_anothers_place_is_found(finished_copy: Path) -> None:
    first, second = stored("round_1/rollouts"), stored("round_2/rollouts")
    shutil.copytree(first.folder, second.folder.parent / first.fingerprint)
    place = f"{second.key}/{first.fingerprint}"
    assert said() == [("error", f"{place}/{RECORD}", f"is the record of another address, {first.address}")]


def test_another_content_hash_than_was_read_is_a_warning(finished_copy: Path) -> None:
    above, below = stored("round_2/reward_batches"), stored("round_2/checkpoints")
    rewrite(above, content_hash="0" * 16)
    assert said() == [
        (
            "warning",
            f"{below.address}/{RECORD}",
            f"read reward_batches {above.address} with content {above.content_hash}; that record now says {'0' * 16}",
        )
    ]


def test_an_upstream_record_that_is_gone_is_a_warning(finished_copy: Path) -> None:
    gone, below = stored("round_2/reward_batches"), stored("round_2/checkpoints")
    shutil.rmtree(gone.folder.parent)
    what = f"was made from reward_batches {gone.address}, which no longer exists"
    assert said() == [("warning", f"{below.address}/{RECORD}", what)]
    assert verified().sound


def test_pointers_to_nothing_are_found(finished_copy: Path) -> None:
    store = Home.find().store
    make_champion(replace(stored("round_1/checkpoints"), fingerprint="0123456789abcdef"))
    (store / "tiny" / "round_1" / "rollouts" / "current").write_text("", encoding="utf-8")
    run_id = stored("prompts").dagster_run_id
    (store / "keep.txt").write_text(f"# ours\n{run_id}  # the first\n\nnot there\n", encoding="utf-8")
    assert said() == [
        ("error", "tiny/round_1/rollouts/current", "points to tiny/round_1/rollouts/, which does not exist"),
        ("error", "champions/tiny.json", "names tiny/round_1/checkpoints/0123456789abcdef, which does not exist"),
        ("error", "keep.txt", "line 4: not there is neither a record's address nor the id of a run that made one"),
    ]


def test_rows_that_a_table_lacks_are_warnings(finished_copy: Path) -> None:
    home = Home.find()
    record = stored("round_2/rollouts")
    gone = pl.read_parquet(record.path("rollouts.parquet"))["rollout_id"][0]
    DeltaTable(rollouts_table(home.store).path).delete(f"rollout_id = '{gone}'")
    assert said() == [("warning", record.address, "1 of its rollouts are not in the table")]
    shutil.rmtree(judgements_table(home.store).path)
    judged = [(place, what) for _, place, what in said() if "judgements" in what]
    assert (stored("round_1/judge_scores").address, "64 of its judgements are not in the table") in judged
    assert len(judged) == 4  # scores and report of both rounds
    assert verified().sound


def test_a_key_that_stands_twice_is_found(finished_copy: Path) -> None:
    table = rollouts_table(Home.find().store)
    table.append(table.rows().sort("rollout_id").head(1).collect())
    key = table.rows().collect()["rollout_id"].sort()[0]
    assert said() == [("error", "tables/rollouts/rollout_id", f"1 keys have several rows, e.g. {key}")]


def test_a_table_with_a_damaged_file_is_found(finished_copy: Path) -> None:
    table = judgements_table(Home.find().store)
    first, second, *_ = (Path(uri) for uri in sorted(DeltaTable(table.path).file_uris()))
    first.unlink()
    second.write_bytes(b"x" * second.stat().st_size)
    (_, one, missing), (_, two, damaged) = said()
    assert (one, missing) == (f"tables/judgements/{first.parent.name}/{first.name}", "is missing")
    assert two == f"tables/judgements/{second.parent.name}/{second.name}"
    assert damaged.startswith("cannot be read: ")


def test_a_table_without_its_log_is_found(finished_copy: Path) -> None:
    shutil.rmtree(Path(rollouts_table(Home.find().store).path) / "_delta_log")
    ((level, place, what),) = said()
    assert (level, place) == ("error", "tables/rollouts/_delta_log")
    assert what.startswith("cannot be read: ")


@pytest.mark.parametrize("name", ["prompts/.making-abc", "round_1/checkpoints/.training-0123456789abcdef"])
def test_what_a_killed_run_left_is_a_warning(name: str, finished_copy: Path) -> None:
    (Home.find().store / "tiny" / name).mkdir()
    assert said() == [("warning", f"tiny/{name}", "was left by a run that was killed")]
