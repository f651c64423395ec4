"""A store in a bucket (a real S3 server) that two machines share: each has a home of its own."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import obstore
import polars as pl
import pytest
from obstore.store import from_url

from rft_pipeline.campaign import load_campaign
from rft_pipeline.labels.exports import came_back, draw_export, exports_of, rows_of
from rft_pipeline.store import Home, Record, Table, judgements_table, labels_table, rollouts_table
from rft_pipeline.store.records import RECORD
from rft_pipeline.store.rows import LABELS, label_id
from tests.buckets import s3_server
from tests.cli.small import Rft
from tests.pipeline.stage_process import StageProcess
from tests.runs import edit, engines_counted, made, run
from tests.tiny_campaign import write_campaign, write_home

STORE = "s3://rft/shared/store"


class Machines(NamedTuple):
    """A campaign in the bucket, and the records of a plain run of it in a folder."""

    folder: Path
    plain: dict[str, Record]
    records: dict[str, Record]
    rows_when_killed: dict[str, int]
    enter: Callable[[str], Home]
    """Makes a machine the present one."""


@pytest.fixture(scope="module")
def machines(tiny_model: Path, empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """The machine `a` was killed while it sampled and while it judged."""
    root = tmp_path_factory.mktemp("shared")
    folder = write_campaign(root, tiny_model)
    edit(folder / "campaign.yaml", "rounds", 1)
    edit(folder / "campaign.yaml", "rollouts.runtime.batch_size", 4)
    edit(folder / "campaign.yaml", "judge.runtime.batch_size", 4)
    with pytest.MonkeyPatch.context() as monkeypatch, s3_server():
        monkeypatch.setenv("RFT_DATA", str(root / "data"))
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

        def enter(name: str) -> Home:
            home = root / name
            monkeypatch.setenv("RFT_HOME", str(home) if home.exists() else write_home(home, empty_mlflow))
            return Home.find()

        enter("plain")
        plain = run(folder)
        monkeypatch.setenv("RFT_STORE", STORE)
        home = enter("a")
        run(folder, ["prompts", "rubric", "policy"])
        rows = {}
        for name, table in (("rollouts", rollouts_table), ("judgements", judgements_table)):
            _kill_when(partial(_height, table(home.store)), ["round_1/rollouts", "round_1/judge_scores"])
            rows[name] = _height(table(home.store))
        yield Machines(folder, plain, run(folder), rows, enter)


def _height(table: Table) -> int:
    return table.rows().collect().height


def _kill_when(seen: Callable[[], int], stages: list[str]) -> None:
    process = StageProcess(stages, rest=0.3)
    waited = time.monotonic()
    while not seen():
        assert time.monotonic() - waited < 60
        time.sleep(0.05)
    process.kill()


def test_records_in_a_bucket_equal_those_of_a_plain_run(machines: Machines) -> None:
    for name, record in machines.records.items():
        assert (record.fingerprint, record.content_hash) == (
            machines.plain[name].fingerprint,
            machines.plain[name].content_hash,
        )


def test_rows_of_a_killed_run_are_in_the_bucket_once_and_are_not_made_again(machines: Machines) -> None:
    home = machines.enter("a")
    for name, table, stage in (
        ("rollouts", rollouts_table, "round_1/rollouts"),
        ("judgements", judgements_table, "round_1/judge_scores"),
    ):
        assert 0 < machines.rows_when_killed[name] < machines.plain[stage].rows["made"]
        assert (
            machines.records[stage].rows["made"] == machines.plain[stage].rows["made"] - machines.rows_when_killed[name]
        )
        assert table(home.store).doubled().is_empty()


def test_another_machine_finds_everything(machines: Machines) -> None:
    machines.enter("b")
    with engines_counted() as loaded:
        found = run(machines.folder)
    assert made(found) == []
    assert loaded == []
    for name, record in found.items():
        there = machines.records[name].folder
        assert record.address == machines.records[name].address
        assert record.folder != there
        assert (record.folder / RECORD).read_bytes() == (there / RECORD).read_bytes()


def test_another_machine_shows_all_of_it(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    machines.enter("c")
    rft = Rft(monkeypatch, capfd)
    assert {each["action"] for each in json.loads(rft("plan", "tiny", "--json").out)["stages"]} == {"skip"}
    assert rft("status", "tiny").code == 0
    assert machines.records["round_1/checkpoints"].address in rft("trace", "tiny/round_1/checkpoints").out
    assert rft("report", "tiny").code == 0
    verified = rft("verify")
    assert (verified.code, verified.err) == (0, "")
    altered = from_url(STORE)
    record = machines.records["round_1/reward_batches"]
    (file, *_) = record.files
    obstore.put(altered, f"store/{record.address}/{file}", b"altered")
    found = rft("verify", "--json")
    obstore.put(altered, f"store/{record.address}/{file}", record.path(file))
    (finding,) = json.loads(found.out)["findings"]
    assert found.code == 1
    assert (finding["folder"], finding["file"]) == (f"{STORE}/store/{record.address}", file)
    assert finding["what"].startswith("was altered")
    refused = rft("gc")
    assert refused.code == 2
    assert "rft gc: does not work on a store in a bucket (s3://rft/shared/store); copy it to a folder" in refused.err


def test_labels_that_people_gave_on_one_machine_are_on_the_other(machines: Machines) -> None:
    here = machines.enter("a")
    drawn = draw_export(load_campaign(machines.folder), here, 4)
    shown = rows_of(drawn, here.store)
    there = machines.enter("d")
    assert exports_of("tiny", there.store) == [drawn]
    assert rows_of(drawn, there.store).equals(shown)
    label = {
        "label_id": label_id(shown["rollout_id"][0], "polite", "ann"),
        "rollout_id": shown["rollout_id"][0],
        "prompt_id": shown["prompt_id"][0],
        "criterion": "polite",
        "value": 1.0,
        "annotator": "ann",
        "note": "",
        "split": "audit",
        "inclusion": 1.0,
        "batch": drawn.id,
        "created": "2026-01-01T00:00:00+00:00",
    }
    for value in (1.0, 0.0):
        labels_table(there.store).upsert(pl.DataFrame([label | {"value": value}], schema=LABELS))
    assert labels_table(machines.enter("a").store).rows().collect().to_dicts() == [label | {"value": 0.0}]
    assert came_back("tiny", here.store) == [drawn]
