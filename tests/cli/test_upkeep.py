"""`rft verify` and `rft gc` as a user meets them."""

import json
from pathlib import Path

from rft_pipeline.store import Home
from tests.cli.small import Rft
from tests.upkeep.small import stored


def test_the_command_names_each_place_and_says_what_to_do(rft: Rft, finished_copy: Path) -> None:
    assert rft("verify").code == 0
    record = stored("round_1/rollouts")
    record.path("rollouts.parquet").write_bytes(b"")
    answer = rft("verify", "tiny")
    assert answer.code == 1
    assert f"error {record.folder}/rollouts.parquet: was altered" in answer.out
    assert "    remove the folder and run again\n" in answer.out
    assert answer.out.splitlines()[-1].startswith("15 records, ")
    assert answer.out.splitlines()[-1].endswith(" read: 1 error, 0 warnings")
    answer = rft("verify", "--json")
    assert answer.code == 1
    (finding,) = json.loads(answer.out)["findings"]
    assert (finding["folder"], finding["file"]) == (str(record.folder), "rollouts.parquet")


def test_a_campaign_that_never_ran_is_named(rft: Rft, finished_copy: Path) -> None:
    for command in ("verify", "gc"):
        answer = rft(command, "tinny")
        assert answer.code == 2
        assert "no campaign 'tinny' was ever run; there are: tiny" in answer.err


def test_the_command_says_what_it_would_free_and_frees_it(rft: Rft, finished_copy: Path) -> None:
    folder = Home.find().store / "tiny" / "prompts" / "0123456789abcdef"
    folder.mkdir()
    (folder / "prompts.parquet").write_bytes(b"x" * 1500)
    dry = rft("gc")
    head, line, total, last = dry.out.splitlines()
    assert (dry.code, head.split()) == (0, ["what", "count", "bytes"])
    assert line.strip().split("  ")[0] == "unneeded records"
    assert line.split()[-4:] == ["1", "record", "1.5", "kB"]
    assert total.split() == ["total", "1.5", "kB"]
    assert last.startswith("nothing was deleted; `rft gc --yes` deletes it.")
    assert folder.exists()
    freed = json.loads(rft("gc", "--yes", "--json").out)
    assert (freed["freed"], freed["bytes"]) == (True, 1500)
    assert freed["records"] == ["tiny/prompts/0123456789abcdef"]
    assert not folder.exists()
    assert rft("gc").out == "there is nothing to delete\n"
