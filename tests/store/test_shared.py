"""Two homes that copy one bucket (a real S3 server), without a campaign."""

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
import polars as pl
import pytest
from obstore.store import from_url

from rft_pipeline.errors import StoreError
from rft_pipeline.store import Home, Record, RecordStore, Table, champions
from rft_pipeline.store.bucket_copy import BucketCopy
from rft_pipeline.store.champions import NoChampion
from rft_pipeline.store.lock import alone
from rft_pipeline.store.places import Bucket
from rft_pipeline.store.shared import publish_folder, shared_by, write_through
from tests.buckets import s3_server

URL = "s3://rft/shared"
KEY, FINGERPRINT = "tiny/round_1/rollouts", "0123456789abcdef"
SCHEMA = pl.Schema([("id", pl.String()), ("part", pl.String())])


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def enter(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], RecordStore]:
    """Makes a machine the present one, with what is new in the bucket; the bucket is empty at first."""
    bucket = from_url("s3://rft")
    obstore.delete(bucket, [found["path"] for each in obstore.list(bucket) for found in each])
    monkeypatch.setenv("RFT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RFT_STORE", URL)

    def enter(machine: str) -> RecordStore:
        monkeypatch.setenv("RFT_HOME", str(tmp_path / machine))
        home = Home.find()
        shared(home.root).refresh()
        return RecordStore(home.store)

    return enter


def shared(root: Path) -> BucketCopy:
    found = shared_by(root)
    assert found is not None
    return found


def commit(records: RecordStore, content: str = "content") -> Record:
    record = Record(key=KEY, fingerprint=FINGERPRINT, payload={}, content_hash=content)
    with records.holding(KEY), records.workdir(KEY) as folder:
        for name in ("a.txt", "below/b.txt"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(f"{content} of {name}", encoding="utf-8")
        return records.commit(record, folder)


def test_a_record_is_in_all_homes_with_every_file(enter: Callable[[str], RecordStore]) -> None:
    made = commit(enter("a"))
    found = enter("b").current(KEY)
    assert found is not None
    assert found.content_hash == made.content_hash
    assert found.path("below/b.txt").read_text(encoding="utf-8") == "content of below/b.txt"
    assert found.folder != made.folder


class KilledError(BaseException):
    """Ends a process where it stands: nothing handles it."""


@pytest.mark.parametrize("writes", range(4))
def test_a_commit_that_is_killed_shows_a_whole_record_or_none(
    writes: int, enter: Callable[[str], RecordStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    # four writes: two files, record.json, current
    records = enter("a")
    done: list[str] = []
    with monkeypatch.context() as killed:
        for method in ("write", "replace"):
            killed.setattr(Bucket, method, _killed_after(writes, done, getattr(Bucket, method)))
        with pytest.raises(KilledError):
            commit(records)
    there = enter("b")
    found = there.find(KEY, FINGERPRINT)
    assert (found is not None) == (writes == 3)
    assert there.current(KEY) is None
    if found is None:
        commit(there, "made by b")
    else:
        there.make_current(found)
    for machine in ("a", "b"):
        whole = enter(machine).current(KEY)
        assert whole is not None
        assert whole.path("a.txt").read_text(encoding="utf-8") == f"{whole.content_hash} of a.txt"


def _killed_after(writes: int, done: list[str], write: Callable[..., object]) -> Callable[..., object]:
    def counted(self: Bucket, name: str, *rest: object) -> object:
        if not name.startswith("locks/"):
            if len(done) >= writes:
                raise KilledError
            done.append(name)
        return write(self, name, *rest)

    return counted


def test_a_record_whose_file_was_altered_in_the_bucket_is_made_again(
    enter: Callable[[str], RecordStore], caplog: pytest.LogCaptureFixture
) -> None:
    commit(enter("a"))
    obstore.put(from_url(URL), f"store/{KEY}/{FINGERPRINT}/a.txt", b"altered")
    with caplog.at_level(logging.WARNING):
        records = enter("b")
    assert "a.txt is missing or was altered" in caplog.text
    assert records.find(KEY, FINGERPRINT) is None
    commit(records)
    assert enter("c").current(KEY) is not None


def test_a_record_that_was_removed_from_the_bucket_is_forgotten(enter: Callable[[str], RecordStore]) -> None:
    commit(enter("a"))
    assert enter("b").current(KEY) is not None
    bucket = from_url(URL)
    names = [found["path"] for each in obstore.list(bucket, prefix=f"store/{KEY}/{FINGERPRINT}") for found in each]
    obstore.delete(bucket, names)
    for machine in ("a", "b"):
        assert enter(machine).find(KEY, FINGERPRINT) is None


def test_a_stage_that_runs_on_another_machine_is_seen(enter: Callable[[str], RecordStore]) -> None:
    there = enter("a")
    here = enter("b")
    with there.holding(KEY), here.holding_idle([KEY]) as busy:
        assert busy == [KEY]
    with here.holding_idle([KEY]) as busy:
        assert busy == []


def test_champions_of_two_machines_are_one_history(enter: Callable[[str], RecordStore]) -> None:
    roots = {machine: enter(machine).root.parent for machine in ("a", "b")}
    for machine in ("a", "b", "a"):
        with champions.locked(roots[machine], "tiny") as known:
            champions.write(roots[machine], "tiny", (*known, NoChampion(why=f"by {machine}")))
    enter("b")
    assert [each.why for each in champions.history(roots["b"], "tiny")] == ["by a", "by b", "by a"]


def test_a_file_that_another_machine_changed_is_not_replaced(enter: Callable[[str], RecordStore]) -> None:
    roots = {machine: enter(machine).root.parent for machine in ("a", "b")}
    champions.write(roots["a"], "tiny", (NoChampion(why="by a"),))
    with pytest.raises(StoreError, match=r"s3://rft/shared/champions/tiny.json: another machine changed it meanwhile"):
        champions.write(roots["b"], "tiny", (NoChampion(why="by b"),))
    assert [each.why for each in champions.history(roots["b"], "tiny")] == ["by a"]


def test_a_cycle_is_in_all_homes_as_a_whole_and_ends_in_all(enter: Callable[[str], RecordStore]) -> None:
    roots = {machine: enter(machine).root.parent for machine in ("a", "b")}
    folder = roots["a"] / "cycles" / "tiny" / "1"
    with alone(folder.with_name(".begin")):
        begun = folder.with_name(".1-begun")
        begun.mkdir()
        (begun / "prompts.jsonl").write_text("{}", encoding="utf-8")
        (begun / "cycle.json").write_text("{}", encoding="utf-8")
        publish_folder(begun, folder, last="cycle.json")
        begun.rename(folder)
    obstore.put(from_url(URL), "cycles/tiny/2/prompts.jsonl", b"of a process that was killed")
    enter("b")
    there = roots["b"] / "cycles" / "tiny" / "1"
    assert [path.name for path in there.parent.glob("[!.]*/")] == ["1"]
    assert sorted(path.name for path in there.iterdir()) == ["cycle.json", "prompts.jsonl"]
    write_through(there / "outcome.json", "{}")
    enter("a")
    assert (folder / "outcome.json").read_text(encoding="utf-8") == "{}"


def _append(root: str, name: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    table = Table(Path(root) / "store" / "tables" / "rows", SCHEMA, "id", ["part"])
    for number in range(6):
        table.append(pl.DataFrame({"id": [f"{name}{number}"], "part": [f"part {number % 2}"]}))


def test_rows_that_two_machines_append_at_once_are_all_there_once(enter: Callable[[str], RecordStore]) -> None:
    roots = {machine: str(enter(machine).root.parent) for machine in ("a", "b")}
    variables = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append, args=(root, name, variables)) for name, root in roots.items()]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    for root in roots.values():
        table = Table(Path(root) / "store" / "tables" / "rows", SCHEMA, "id", ["part"])
        found = table.scan().collect()["id"].sort().to_list()
        assert found == sorted(f"{name}{number}" for name in roots for number in range(6))
