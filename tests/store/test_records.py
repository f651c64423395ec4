import json
from pathlib import Path

import pytest

from rft_pipeline.errors import StoreError
from rft_pipeline.store import Record, RecordStore
from rft_pipeline.store.records import RECORD

KEY = "tiny/round_1/rollouts"


def record(fingerprint: str = "aa11", content_hash: str = "c1") -> Record:
    return Record(
        key=KEY,
        fingerprint=fingerprint,
        payload={"stage": "rollouts", "settings": {"seed": 1}},
        content_hash=content_hash,
        rows={"rollouts": 16},
        metrics={"mean_reward": 0.5},
    )


def commit(store: RecordStore, wanted: Record, text: str = "rows\n") -> Record:
    with store.workdir(wanted.key) as workdir:
        (workdir / "plots").mkdir()
        (workdir / "rows.csv").write_text(text, encoding="utf-8")
        (workdir / "plots" / "a.txt").write_text("plot", encoding="utf-8")
        return store.commit(wanted, workdir)


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "store")


def test_a_committed_record_is_found_again_as_cached(store: RecordStore) -> None:
    made = commit(store, record())
    found = store.find(KEY, "aa11")
    assert found is not None
    assert (made.cached, found.cached) == (False, True)
    assert (found.payload, found.rows, found.metrics) == (made.payload, made.rows, made.metrics)
    assert found.folder == store.root / KEY / "aa11"
    assert found.path("rows.csv").read_text(encoding="utf-8") == "rows\n"
    assert set(found.files) == {"rows.csv", "plots/a.txt"}
    assert found.files["rows.csv"] == "9b71c268cf258d56d93a8182fce8a2ed6a7d18768a88959e17537d913702d63f"


def test_a_fingerprint_that_was_not_made_is_not_found(store: RecordStore) -> None:
    assert store.find(KEY, "aa11") is None
    assert store.current(KEY) is None


def test_a_stage_that_raises_leaves_nothing(store: RecordStore) -> None:
    def stage() -> None:
        with store.workdir(KEY) as workdir:
            (workdir / "rows.csv").write_text("half", encoding="utf-8")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stage()
    assert store.find(KEY, "aa11") is None
    assert list((store.root / KEY).iterdir()) == []


def test_a_kill_before_the_rename_leaves_a_work_folder_and_no_record(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", lambda *args, **kwargs: None)
    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        commit(store, record())
    (left,) = (store.root / KEY).iterdir()
    assert left.name.startswith(".making-")
    assert (left / RECORD).is_file()
    assert store.find(KEY, "aa11") is None
    assert store.current(KEY) is None


def test_a_kill_before_the_record_is_written_leaves_no_record(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, record("aa11"))
    monkeypatch.setattr("json.dumps", lambda *args, **kwargs: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        commit(store, record("bb22"))
    monkeypatch.undo()
    assert store.find(KEY, "bb22") is None
    current = store.current(KEY)
    assert current is not None
    assert current.fingerprint == "aa11"


def test_a_record_whose_file_is_gone_is_not_found(store: RecordStore) -> None:
    made = commit(store, record())
    made.path("plots/a.txt").unlink()
    assert store.find(KEY, "aa11") is None
    with pytest.raises(StoreError, match=r"plots/a\.txt is missing"):
        made.path("plots/a.txt")


def test_a_record_can_be_made_again_in_its_place(store: RecordStore) -> None:
    commit(store, record(), "old\n")
    commit(store, record(content_hash="c2"), "new\n")
    found = store.find(KEY, "aa11")
    assert found is not None
    assert (found.content_hash, found.path("rows.csv").read_text(encoding="utf-8")) == ("c2", "new\n")


def test_current_names_the_record_made_or_chosen_last(store: RecordStore) -> None:
    first = commit(store, record("aa11"))
    commit(store, record("bb22"))
    current = store.current(KEY)
    assert current is not None
    assert current.fingerprint == "bb22"
    store.make_current(first)
    current = store.current(KEY)
    assert current is not None
    assert (current.fingerprint, current.cached) == ("aa11", True)
    assert (store.root / KEY / "current").read_text(encoding="utf-8") == "aa11\n"


def test_what_depends_on_the_machine_is_not_stored(store: RecordStore) -> None:
    made = commit(store, record())
    stored = json.loads((made.folder / RECORD).read_text(encoding="utf-8"))
    assert str(store.root) not in json.dumps(stored)
    assert not {"folder", "cached"} & set(stored)
