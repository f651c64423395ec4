"""The commands, where another campaign of the home cannot be read."""

from pathlib import Path

import pytest

from rft_pipeline.store import Home
from tests.cli.small import Rft, assert_one_message, execute_steps_here
from tests.upkeep.small import tree


@pytest.fixture
def other(finished_copy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A campaign whose campaign.yaml is not UTF-8, next to the finished one, whose steps run in this process."""
    folder = finished_copy.with_name("other")
    folder.mkdir()
    (folder / "campaign.yaml").write_bytes(b"name: \xff")
    execute_steps_here(monkeypatch)
    return folder


def test_a_good_campaign_runs_and_the_bad_one_is_named_in_one_line(rft: Rft, other: Path) -> None:
    said = rft("run", "tiny")
    assert said.code == 0, said.err
    assert "15 of 15 stages cached" in said.err
    (warning,) = [line for line in said.err.splitlines() if line.startswith("warning ")]
    assert warning.startswith(
        f"warning campaign other cannot be read, see `rft check other`: {other / 'campaign.yaml'}"
    )


def test_the_bad_campaign_is_refused_with_its_error(rft: Rft, other: Path) -> None:
    for command in ("run", "check"):
        assert_one_message(rft(command, "other"), f"{other / 'campaign.yaml'}: not YAML")


def test_check_of_all_campaigns_names_the_bad_one_and_checks_the_good_one(rft: Rft, other: Path) -> None:
    said = rft("check")
    assert said.code == 2
    assert "tiny: " in said.out
    assert f"error other: {other / 'campaign.yaml'}: not YAML" in said.err


def test_gc_frees_nothing_while_a_campaign_cannot_be_read(rft: Rft, other: Path) -> None:
    garbage = Home.find().store / "other" / "prompts" / "0123456789abcdef"
    garbage.mkdir(parents=True)
    (garbage / "prompts.parquet").write_bytes(b"x")
    before = tree(Home.find().store)
    assert_one_message(rft("gc", "--yes"), f"{other / 'campaign.yaml'}: not YAML")
    assert tree(Home.find().store) == before
