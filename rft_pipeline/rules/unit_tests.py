"""A rule about replies that are programs: they pass the tests of their prompt."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from rft_pipeline.rules.base import Column, ColumnName, Rollout, Rule, RuleFailure, RuleScore
from rft_pipeline.sandbox import (
    AnySandbox,
    BrokenTestsError,
    Limits,
    SandboxError,
    python_in,
    run_program,
    run_tests,
    why_unusable,
)
from rft_pipeline.strict import Spelled, Strict

_BLOCK = re.compile(r"^[ ]{0,3}(`{3,}|~{3,})[^\n`]*\n(.*?)(?:^[ ]{0,3}\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_FORMS = (
    'a list of Python texts (assert add(1, 2) == 3), one such text, or a list of objects {"input": ..., "output": ...}'
)


class Program(Strict):
    """How a program in another language is run; its tests are inputs with their outputs."""

    file: Annotated[str, Spelled(r"[\w.-]+", "the name of a file, without folders and spaces, e.g. main.js")]
    """The file that holds the code, in the working folder, e.g. `main.js`."""
    command: tuple[str, ...] = Field(min_length=1)
    """What compiles and runs it, e.g. `[node, main.js]`, or `[sh, -c, "cc main.c && ./a.out"]`."""


class UnitTests(Rule):
    """The share of the prompt's tests that the code of the reply passes, run in a sandbox.

    The code is the reply's first code block, or the whole reply where it has none. A test is Python text that calls the
    code's functions and classes, or an input with the output that a program must write for it (white space at the ends
    of lines and of the text does not count). A program that crashes, or exceeds a limit, fails its test. Where the
    sandbox cannot be started, the judgement is failed: it is not stored, and the next run asks again.
    """

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"sandbox", "parallel"})

    READS = ("column",)

    name: Literal["unit_tests"] = "unit_tests"
    column: ColumnName = "tests"
    all_or_nothing: bool = False
    """1 if all tests pass, else 0; by default the share that passes."""
    language: Program | None = None
    """For another language than Python."""
    limits: Limits = Limits()
    sandbox: AnySandbox = "bubblewrap"
    """`bubblewrap`; `{command: [...]}`, a container of your own; or `none`: the code runs with your rights."""
    parallel: int = Field(default=4, ge=1, le=64)
    """Replies that are tested at the same time."""

    def columns(self) -> tuple[Column, ...]:
        return (Column("column", self.column, self._are_tests, "not tests that can be run", _FORMS),)

    def faults(self) -> Iterable[str]:
        if (why := why_unusable(self.sandbox)) is not None:
            yield why

    def warnings(self) -> Iterable[str]:
        if self.sandbox == "none":
            yield (
                "sandbox: none, so code that a model wrote runs with your rights: it can read your files and use the "
                "network; remove the line, or start the whole pipeline in a container"
            )

    def __call__(self, rollout: Rollout) -> RuleScore:
        tests = _tests_of(rollout.fields.get(self.column))
        if not self._are_tests(tests):
            return RuleScore(None, f"no tests in the prompt's column {self.column!r}; allowed: {_FORMS}")
        code, found = code_of(rollout.completion)
        if not code.strip():
            return RuleScore(0.0, "the reply holds no code")
        try:
            passed, failure = self._passed(code, tests)
        except SandboxError as error:
            return RuleFailure(None, f"the sandbox could not be used: {error}")
        except BrokenTestsError as error:
            return RuleScore(None, str(error))
        score = float(passed == len(tests)) if self.all_or_nothing else passed / len(tests)
        note = "" if found else "no code block, so the whole reply was run; "
        return RuleScore(score, note + f"{passed} of {len(tests)} tests pass" + (f"; {failure}" if failure else ""))

    def decide_all(self, rollouts: Sequence[Rollout]) -> Iterator[tuple[int, RuleScore]]:
        pool = ThreadPoolExecutor(self.parallel, thread_name_prefix="sandbox")
        try:
            places = {pool.submit(self.decide, rollout): place for place, rollout in enumerate(rollouts)}
            for each in as_completed(places):
                yield places[each], each.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _passed(self, code: str, tests: Sequence[Any]) -> tuple[int, str]:
        """How many tests pass, and the first failure."""
        if isinstance(tests[0], str):
            return run_tests(code, tests, self.limits, self.sandbox)
        failures = [self._program_failure(code, test) for test in tests]
        first = next((f"test {number}: {why}" for number, why in enumerate(failures, start=1) if why), "")
        return failures.count(None), first

    def _program_failure(self, code: str, test: Mapping[str, str]) -> str | None:
        how = self.language or Program(file="solution.py", command=(python_in(self.sandbox), "-S", "-B", "solution.py"))
        output, why = run_program(code, how.file, how.command, test["input"], self.limits, self.sandbox)
        if output is None:
            return why
        wanted, written = _lines(test["output"]), _lines(output)
        if written == wanted:
            return None
        place = next((i for i, pair in enumerate(zip(wanted, written, strict=False)) if pair[0] != pair[1]), None)
        if place is None:
            return f"{len(written)} lines of output, not {len(wanted)}"
        return f"line {place + 1} of the output is {written[place][:80]!r}, not {wanted[place][:80]!r}"

    def _are_tests(self, value: Any) -> bool:
        tests = _tests_of(value)
        if not isinstance(tests, list) or len({type(test) for test in tests}) != 1:
            return False
        return all(map(self._is_test, tests))

    def _is_test(self, test: Any) -> bool:
        if isinstance(test, dict):
            return test.keys() == {"input", "output"} and all(isinstance(each, str) for each in test.values())
        return isinstance(test, str) and self.language is None and _compiles(test)


def code_of(reply: str) -> tuple[str, bool]:
    """The first code block of a reply, and True; or the whole reply, and False. A block that is cut off counts."""
    found = _BLOCK.search(reply)
    return (textwrap.dedent(found[2]), True) if found else (textwrap.dedent(reply), False)


def _tests_of(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _compiles(test: str) -> bool:
    try:
        return bool(compile(test, "test", "exec", dont_inherit=True)) and bool(test.strip())
    except (SyntaxError, ValueError):
        return False


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]
