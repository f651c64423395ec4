"""Which lines about a running job go to a log."""

import time

import pytest

from rft_pipeline.cli.watch import Lines
from rft_pipeline.runs.state import AtWork


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
