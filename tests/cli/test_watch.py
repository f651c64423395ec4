"""What is shown of a running job, and which lines about it go to a log."""

import io
import sqlite3
import time
from pathlib import Path

import pytest
from rich.console import Console

from rft_pipeline.cli.watch import Lines, _table, watching
from rft_pipeline.progress import StageProgress
from rft_pipeline.runs.state import CACHED, FAILED, INTERRUPTED, AtWork, RunState, in_words
from rft_pipeline.store import Home


def test_a_line_comes_when_something_changed_or_every_30_seconds_and_never_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    lines = Lines()
    waits, judges = AtWork("run 7", "waiting for run 7"), "judgements of clear"
    seen = [
        (0.0, waits),
        (40.0, waits),
        (41.0, AtWork(judges, "0/9 judgements of clear")),
        (72.0, AtWork(judges, "0/9 judgements of clear")),
        (80.0, AtWork(judges, "1/9 judgements of clear")),
        (102.0, AtWork(judges, "2/9 judgements of clear")),
        (103.0, AtWork("judgements of short", "0/9 judgements of short")),
    ]
    printed = []
    for clock[0], state in seen:
        printed += [(clock[0], line) for line in lines.of({}, {"s": state})]
    assert printed == [
        (0.0, "s: waiting for run 7"),
        (41.0, "s: 0/9 judgements of clear"),
        (102.0, "s: 2/9 judgements of clear"),
        (103.0, "s: 0/9 judgements of short"),
    ]
    assert lines.of({"s": "made in 104 s"}, {}) == ["s: made in 104 s"]


@pytest.mark.parametrize(
    ("done", "total", "what", "words"),
    [
        (0, 94, "judgements of relevant", "94 judgements of relevant"),
        (0, 1, "steps", "1 step"),
        (0, 1, "judgements of steps", "1 judgement of steps"),
        (47, 94, "judgements of relevant", "47/94 judgements of relevant, 4.7/s, 10 s left"),
    ],
)
def test_what_begins_has_its_total_and_what_goes_on_its_count(done: int, total: int, what: str, words: str) -> None:
    assert in_words(StageProgress("judge_audit", what, done, total, 10.0, "", "")) == words
    within = in_words(StageProgress("round_1/rollouts", what, done, total, 10.0, "", "generation 1 of 2"))
    assert within == f"generation 1 of 2, {words.partition(',')[0]}"


class BusyRun(RunState):
    """A run of one stage whose database is busy at the first looks."""

    def __init__(self, home: Home, busy: int) -> None:
        self.home, self.campaign, self.keys, self.run_id, self.cancelled = home, "tiny", ["tiny/prompts"], None, False
        self.finished = {}
        self.busy = busy

    def update(self) -> None:
        self.busy -= 1
        if self.busy >= 0:
            raise sqlite3.OperationalError("database is locked")
        self.finished["tiny/prompts"] = CACHED


@pytest.mark.parametrize("terminal", [True, False])
def test_a_look_at_a_busy_database_ends_no_display_and_loses_no_stage(tmp_path: Path, terminal: bool) -> None:
    run, screen = BusyRun(Home(tmp_path, tmp_path), busy=1), Console(file=io.StringIO(), force_terminal=terminal)
    with watching(run, screen):
        while run.busy >= 0:
            time.sleep(0.01)
    assert isinstance(screen.file, io.StringIO)
    assert ("1 of 1 stages done" if terminal else "tiny/prompts") in screen.file.getvalue()

    run = BusyRun(Home(tmp_path, tmp_path), busy=1)
    with watching(run, screen):  # the only look is the one at the end
        pass
    assert run.finished == {"tiny/prompts": CACHED}


class FailedRun(RunState):
    """A run of five stages, of which one failed."""

    def __init__(self) -> None:
        self.keys = [f"tiny/{name}" for name in ("prompts", "policy", "rollouts", "judge_scores", "promotion")]
        self.finished = {"tiny/prompts": CACHED, "tiny/policy": "made in 1 s", "tiny/rollouts": FAILED}

    def update(self) -> None:
        pass

    def at_work(self) -> dict[str, AtWork]:
        return {"tiny/judge_scores": AtWork("x", "3/9 judgements of clear")}


def test_a_table_shows_what_runs_and_counts_the_rest() -> None:
    screen = Console(file=io.StringIO(), width=80)
    screen.print(_table(FailedRun()))
    assert isinstance(screen.file, io.StringIO)
    assert [" ".join(line.split()) for line in screen.file.getvalue().splitlines() if line.strip()] == [
        "stage state",
        "tiny/policy made in 1 s",
        "tiny/rollouts failed",
        "tiny/judge_scores 3/9 judgements of clear",
        "all 2 of 5 stages done, 1 of them cached, 1 failed",
    ]


def test_a_stage_that_ctrl_c_ended_is_not_called_failed() -> None:
    screen, ended = Console(file=io.StringIO(), width=80), FailedRun()
    ended.finished["tiny/rollouts"] = INTERRUPTED
    screen.print(_table(ended))
    assert isinstance(screen.file, io.StringIO)
    assert "2 of 5 stages done, 1 of them cached, 1 interrupted" in screen.file.getvalue()
    assert "failed" not in screen.file.getvalue()


def test_a_stage_that_failed_has_a_line_in_a_log() -> None:
    screen = Console(file=io.StringIO(), force_terminal=False)
    with watching(FailedRun(), screen):
        pass
    assert isinstance(screen.file, io.StringIO)
    assert "tiny/rollouts: failed" in screen.file.getvalue().splitlines()
