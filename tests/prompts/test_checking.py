"""What `rft check` says of the interaction logs."""

from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.campaign.cycles import newest
from rft_pipeline.errors import ConfigError, DataError
from rft_pipeline.pipeline.log_checks import CheckedLogs, check_logs
from rft_pipeline.store import Home
from tests.prompts.small import write_logs
from tests.prompts.test_cycle import log, set_up
from tests.runs import edit


def checked(folder: Path) -> CheckedLogs:
    found = check_logs(load_campaign(folder), Home.find())
    assert found is not None
    return found


def test_it_tells_what_a_cycle_would_draw_and_writes_nothing(tiny_campaign: Path) -> None:
    assert check_logs(load_campaign(tiny_campaign), Home.find()) is None
    set_up(tiny_campaign)
    log(tiny_campaign, "monday")
    found = checked(tiny_campaign)
    assert found.summary == "rows with a prompt; cycle 1 would draw 8 new and 0 old prompts of 12 logged rows"
    assert found.warnings == ()
    assert newest(Home.find(), "tiny") is None


def test_logs_that_are_not_there_yet_are_a_warning(tiny_campaign: Path) -> None:
    set_up(tiny_campaign, logs="logs")
    (warning,) = checked(tiny_campaign).warnings
    assert warning.endswith(f"no cycle would begin now: nothing new: no file matches {tiny_campaign / 'logs'}")


def test_few_prompts_and_files_that_are_not_read_are_warnings(tiny_campaign: Path) -> None:
    set_up(tiny_campaign, logs="logs")
    log(tiny_campaign, "monday", count=3)
    write_logs(tiny_campaign / "logs" / "old.txt", [])
    few, unread = checked(tiny_campaign).warnings
    assert "a cycle would draw 3 prompts, fewer than a round's rollouts.prompts_per_round of 4" in few
    assert unread.endswith(f"1 file of another format left unread (e.g. {tiny_campaign / 'logs' / 'old.txt'})")


def test_a_row_that_cannot_be_used_is_named(tiny_campaign: Path) -> None:
    set_up(tiny_campaign)
    rows = [{"prompt": "Hi"}, {"text": "Hi"}, {"text": "Ho"}]
    path = write_logs(tiny_campaign / "logs" / "a.jsonl", rows[:2])
    assert f"1 row without a usable prompt (e.g. {path}: line 2: has neither" in checked(tiny_campaign).warnings[1]
    write_logs(path, rows)
    with pytest.raises(DataError, match=f"{path}: line 2: has neither messages nor prompt"):
        checked(tiny_campaign)


def test_an_opt_out_that_no_row_has_is_refused(tiny_campaign: Path) -> None:
    set_up(tiny_campaign, opt_out="no_traning")
    log(tiny_campaign, "monday")
    with pytest.raises(DataError, match="no row of the logs has the field 'no_traning'"):
        checked(tiny_campaign)


def test_a_function_that_is_not_there_is_named_before_there_are_logs(tiny_campaign: Path) -> None:
    (tiny_campaign / "privacy.py").write_text("def names(text):\n    return text\n", encoding="utf-8")
    set_up(tiny_campaign, redact_with="privacy:name")
    with pytest.raises(ConfigError, match=r"schedule.retrain.redact_with: privacy:name: cannot be loaded"):
        checked(tiny_campaign)
    edit(tiny_campaign / "campaign.yaml", "schedule.retrain.redact_with", "privacy:names")
    assert checked(tiny_campaign).warnings
