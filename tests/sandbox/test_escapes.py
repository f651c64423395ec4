"""No reply breaks out of the sandbox, and none passes without the answer."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rft_pipeline.judges import Status
from rft_pipeline.judges.rule import RuleJudge, RuleJudging
from rft_pipeline.rules import Rollout
from rft_pipeline.sandbox import Limits, why_unusable
from tests.sandbox.attempts import OUT, PASS

ANSWER = ["assert answer() == 918273", "assert not abs(answer() - 918273) > 1e-9"]
LIMITS = Limits(cpu_seconds=2, wall_seconds=6)


def judge(sandbox: str = "bubblewrap") -> RuleJudging:
    rule = {"name": "unit_tests", "limits": LIMITS.model_dump(), "sandbox": sandbox}
    return RuleJudging(RuleJudge.model_validate({"protocol": "rule", "rule": rule}))


def scores(codes: list[str], tests: list[str], sandbox: str = "bubblewrap") -> list[tuple[Status, float | None]]:
    """The judgements of replies, in order."""
    replies = [Rollout("", f"```python\n{code}\n```", fields={"tests": tests}) for code in codes]
    found = dict(pair for batch in judge(sandbox).score(replies) for pair in batch)
    return [(found[place].status, found[place].score) for place in range(len(codes))]


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    path = tmp_path / "canary.txt"
    path.write_text("canary", encoding="utf-8")
    return path


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


def test_the_sandbox_can_be_used_here() -> None:
    assert why_unusable("bubblewrap") is None


@pytest.mark.parametrize("name", OUT)
def test_no_reply_gets_out(name: str, canary: Path, listening: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2-of-the-host")
    home = Path.home() / f".rft-attempt-{os.getpid()}"
    places = {
        "open a socket": listening,
        "read the environment's secrets": "hunter2-of-the-host",
        "write to the home": str(home),
        "import the project": str(Path(__file__).parents[2]),
    }
    tests = [f"assert attempt({places.get(name, str(canary))!r}) is True"]
    good = "def attempt(place):\n    return True"
    assert scores([OUT[name], good], tests) == [(Status.SCORED, 0.0), (Status.SCORED, 1.0)]
    assert canary.read_text(encoding="utf-8") == "canary"
    assert not home.exists()
    left = [each for each in psutil.Process().children(recursive=True) if "bwrap" in each.name()]
    assert left == []


@pytest.mark.parametrize("name", PASS)
def test_no_reply_passes_without_the_answer(name: str) -> None:
    assert scores([PASS[name]], ANSWER) == [(Status.SCORED, 0.0)]


def test_the_same_attempts_succeed_without_a_sandbox(canary: Path, listening: str) -> None:
    places = {
        "read a file of the machine": str(canary),
        "symlink out of the working folder": str(canary),
        "escape through /proc": str(canary),
        "open a socket": listening,
        "import the project": str(Path(__file__).parents[2]),
        "eat memory that no limit counts": "",
        "write to the home": str(canary),
        "delete a file of the machine": str(canary),
    }
    for name, place in places.items():
        code = OUT[name].replace("/tmp/link", str(canary.with_name("link")))
        assert scores([code], [f"assert attempt({place!r}) is True"], "none") == [(Status.SCORED, 1.0)], name


def test_a_reply_with_the_answer_passes() -> None:
    assert scores(["def answer():\n    return 918273"], ANSWER) == [(Status.SCORED, 1.0)]


def test_attempts_do_not_stop_the_stage() -> None:
    codes = [*PASS.values(), "def answer():\n    return 918273"]
    assert [score for _, score in scores(codes, ANSWER)] == [0.0] * len(PASS) + [1.0]
