"""Progress of a stage, as it is counted, written and read."""

import json
import logging
import time
from pathlib import Path

import pytest

from rft_pipeline.progress import Progress, StageProgress, forget, progress_file, read_progress


def test_the_file_says_what_is_counted_and_goes_when_the_stage_ends(tmp_path: Path) -> None:
    progress = Progress("round_1/rollouts", tmp_path / "progress" / "tiny.round_1.rollouts.json")
    with progress.counting("rollouts", 4):
        (report,) = read_progress(tmp_path / "progress")
        assert (report.stage, report.what, report.done, report.total) == ("round_1/rollouts", "rollouts", 0, 4)
        progress.advance(4)
    (report,) = read_progress(tmp_path / "progress")
    assert report.done == 4
    progress.close()
    progress.close()
    assert read_progress(tmp_path / "progress") == []


def test_the_file_is_not_written_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    progress = Progress("s", tmp_path / "s.json")
    seen = []
    with progress.counting("steps", 10):
        for clock[0] in (0.1, 0.2, 0.6, 0.7, 1.2):
            progress.advance(1)
            seen.append(json.loads((tmp_path / "s.json").read_text())["done"])
    assert seen == [0, 0, 3, 3, 5]


def test_a_log_line_comes_every_30_seconds_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rft_pipeline.progress")
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    progress = Progress("round_1/rollouts")
    with progress.counting("rollouts", 3):
        for clock[0] in (1.0, 30.0, 40.0):
            progress.advance(1)
    assert caplog.messages == [
        "round_1/rollouts: 2/3 rollouts, 0.1/s",
        "round_1/rollouts: 3/3 rollouts, 0.1/s",
    ]


def test_rate_and_time_left_are_those_of_what_is_counted_now() -> None:
    report = StageProgress("s", "steps", done=30, total=90, seconds=60.0)
    assert report.rate == 0.5
    assert report.seconds_left == 120.0
    assert StageProgress("s", "steps", done=0, total=90, seconds=0.0).seconds_left is None


def test_a_file_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken.run.json").write_text('{"stage": "s", ')
    whole = StageProgress("round_1/rollouts", "rollouts", 1, 2, 3.0)
    (tmp_path / "whole.run.json").write_text(json.dumps(whole._asdict()))
    assert read_progress(tmp_path) == [whole]
    assert read_progress(tmp_path / "absent") == []


def test_a_stage_that_waits_says_for_whom_once_in_the_log_and_until_it_begins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress("round_1/rollouts", tmp_path / "s.run.json")
    progress.wait_for("process 71 on there")
    progress.wait_for("process 71 on there")
    assert [report.waits_for for report in read_progress(tmp_path)] == ["process 71 on there"]
    assert caplog.messages == ["round_1/rollouts: waiting for process 71 on there"]
    with progress.counting("rollouts", 4):
        assert [report.waits_for for report in read_progress(tmp_path)] == [""]


def test_two_runs_at_the_same_stage_are_told_apart(tmp_path: Path) -> None:
    files = [progress_file(tmp_path, "tiny/round_1/rollouts", run) for run in ("aa-11", "bb-22")]
    for number, path in enumerate(files, 1):
        with Progress("round_1/rollouts", path).counting("rollouts", number):
            pass
    assert [report.total for report in read_progress(tmp_path, "bb-22")] == [2]
    assert [report.total for report in read_progress(tmp_path)] == [1, 2]
    forget(tmp_path, "tiny/round_1/judge_scores")
    assert all(path.exists() for path in files)
    forget(tmp_path, "tiny/round_1/rollouts")
    assert read_progress(tmp_path) == []


def test_counts_that_run_together_are_reported_together_and_share_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    progress = Progress("s")
    with progress.counting("judgements of kind", 4):
        clock[0] = 2.0
        with progress.counting("judgements of polite", 6):
            clock[0] = 6.0
            progress.advance(1, "judgements of kind")
            progress.advance(2)
            report = progress.report()
            assert (report.what, report.done, report.total) == ("judgements of kind, polite", 3, 10)
            with progress.counting("rollouts", 8):
                assert progress.report().what == "rollouts"
                progress.advance(1, "judgements of kind")
                assert progress.report().done == 0
    assert progress.spent["judgements of kind"] == {"count": 2, "seconds": 4.0}
    assert progress.spent["judgements of polite"] == {"count": 2, "seconds": 2.0}
