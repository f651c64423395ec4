"""`rft store copy`: to a real S3 server and back."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import from_url

from rft_pipeline.campaign import load_campaign
from rft_pipeline.errors import ConfigError, StoreError
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.store import Home, RecordStore, rollouts_table
from rft_pipeline.store.places import BLOCK, Bucket, Folder, without_credentials
from rft_pipeline.upkeep.copying import FOLDERS, Copied, copy
from tests.buckets import SECRET, s3_server
from tests.cli.small import Rft, ended, printed, started
from tests.upkeep.small import quietly, said, stored

BUCKET = "s3://rft/home"


@pytest.fixture(scope="module")
def s3_once() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def s3(s3_once: str) -> str:
    """The server, with an empty bucket."""
    store = from_url("s3://rft")
    obstore.delete(store, [found["path"] for each in obstore.list(store) for found in each])
    return s3_once


def moved(source: str, target: str) -> Copied:
    return copy(source, target, quietly)


def contents(root: Path) -> dict[str, bytes]:
    """All files of a home that a copy holds."""
    return {
        name: (root / name).read_bytes()
        for name in Folder(root).sizes(FOLDERS)
        if not name.endswith((".lock", ".holder.json"))
    }


def test_a_home_comes_back_from_a_bucket_with_every_byte_and_nothing_is_stale(
    s3: str, finished_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.find()
    (home.store / "tiny" / "in_parts.bin").write_bytes(b"0123456789" * (BLOCK // 10 + 1))
    before, rows = contents(home.root), rollouts_table(home.store).rows().collect().height
    (home.store / "tiny" / "prompts" / ".making-abc").mkdir()
    (home.store / "tiny" / "prompts" / ".making-abc" / "half.parquet").write_bytes(b"half")
    there = moved(str(home.root), BUCKET)
    assert (there.files, there.bytes) == (len(before), sum(map(len, before.values())))
    assert (there.present, there.records) == (0, 15)
    back = tmp_path / "another"
    assert moved(BUCKET, str(back)) == there
    assert contents(back) == before
    assert moved(str(back), BUCKET) == Copied(files=0, bytes=0, present=len(before), records=15)

    monkeypatch.setenv("RFT_HOME", str(back))
    assert said() == []
    assert rollouts_table(Home.find().store).rows().collect().height == rows
    assert {step.action for step in plan(load_campaign(finished_copy), Home.find()).steps} == {"skip"}


def test_a_copy_that_was_killed_shows_no_half_record_and_goes_on(s3: str, finished_copy: Path, tmp_path: Path) -> None:
    home, bucket = Home.find(), Bucket(BUCKET)
    for number in range(300):
        (home.store / "tiny" / "label_exports").mkdir(exist_ok=True)
        (home.store / "tiny" / "label_exports" / f"{number}.json").write_text("{}", encoding="utf-8")
    process = started("store", "copy", str(home.root), BUCKET)
    while len(bucket.sizes(FOLDERS)) < 20:
        assert process.poll() is None, ended(process)
        time.sleep(0.01)
    process.kill()
    ended(process)
    half = bucket.sizes(FOLDERS)
    assert len(half) < len(contents(home.root))
    for name in half:
        if name.endswith("record.json"):
            files = json.loads(b"".join(bucket.read(name)))["files"]
            assert {name.replace("record.json", file) for file in files} <= set(half)

    answer = ended(started("store", "copy", str(home.root), BUCKET, "--json"))
    assert answer.code == 0, answer.err
    done = printed("store_copy", answer)
    assert done["present"] >= 20
    assert done["files"] + done["present"] == len(contents(home.root))
    moved(BUCKET, str(tmp_path / "another"))
    assert contents(tmp_path / "another") == contents(home.root)


def test_an_altered_file_is_named_and_nothing_is_copied(s3: str, finished_copy: Path) -> None:
    record = stored("round_1/checkpoints")
    weights = record.path("checkpoint/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(StoreError, match=r"model\.safetensors: was altered: sha256 is [0-9a-f]{64}, was [0-9a-f]{64}"):
        moved(str(Home.find().root), BUCKET)
    assert Bucket(BUCKET).sizes(FOLDERS) == {}
    weights.unlink()
    with pytest.raises(StoreError, match=r"checkpoint/model\.safetensors is missing; remove the folder"):
        moved(str(Home.find().root), BUCKET)


def test_a_place_with_other_files_and_a_running_stage_are_refused(s3: str, finished_copy: Path, tmp_path: Path) -> None:
    home, other = Home.find(), tmp_path / "other"
    (other / "champions").mkdir(parents=True)
    (other / "champions" / "mine.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"holds 1 file that .* lacks, e\.g\. champions/mine\.json; copy to an empty"):
        moved(str(home.root), str(other))
    with (
        RecordStore(home.store).holding("tiny/prompts"),
        pytest.raises(StoreError, match="being made now: tiny/prompts"),
    ):
        moved(str(home.root), BUCKET)
    with pytest.raises(ConfigError, match="has no store; name a state folder"):
        moved(str(other), BUCKET)


def test_an_error_of_the_server_names_the_place_and_never_the_credentials(
    s3: str, finished_copy: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    rft = Rft(monkeypatch, capfd)
    answer = rft("store", "copy", str(Home.find().root), "s3://no-such-bucket/home")
    assert answer.code == 1
    assert "s3://no-such-bucket/home: " in answer.err
    assert "AWS_ENDPOINT_URL" in answer.err
    refused = rft("store", "copy", str(Home.find().root), f"s3://key:{SECRET}@rft/home")
    assert refused.code == 2
    assert "credentials and options do not belong into the address" in refused.err
    unknown = rft("store", "copy", str(Home.find().root), "ftp://rft/home")
    assert unknown.code == 2
    assert "allowed are a folder, s3://bucket/prefix, gs://bucket/prefix, az://" in unknown.err
    assert SECRET not in answer.err + refused.err + unknown.err
    body = f"403 <AWSAccessKeyId>an-access-key</AWSAccessKeyId> {SECRET} us-east-1"
    assert without_credentials(body) == "403 <AWSAccessKeyId>…</AWSAccessKeyId> … us-east-1"
