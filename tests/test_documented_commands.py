"""The commands in the README and in docs/ exist with their options, and tests run them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from rft_pipeline.cli.app import app
from tests.test_docs import PAGES, ROOT, page


def commands(text: str) -> list[list[str]]:
    """The words of each `rft` command in a page's console blocks and inline code."""
    consoles = "".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL)).replace("\\\n", "")
    shown = [line[2:] for line in consoles.splitlines()]
    inline = re.findall(r"`(rft [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL).replace("\n", " "))
    found = [part.strip() for line in [*shown, *inline] for part in re.split(r"&&|;", line.partition("#")[0])]
    return [re.findall(r'"[^"]*"|\S+', line)[1:] for line in found if line.startswith("rft ")]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_page_exists_with_its_options(path: Path) -> None:
    for words in commands(path.read_text(encoding="utf-8")):
        command: Any = typer.main.get_command(app)
        rest = list(words)
        while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
            assert rest[0] in command.commands, words
            command = command.commands[rest.pop(0)]
        assert_options(command, rest)
        if rest and "--help" not in rest and "…" not in rest:
            assert_arguments(command, rest)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_console_has_its_required_arguments(path: Path) -> None:
    for words in commands("\n".join(re.findall(r"```console\n.*?```", path.read_text(encoding="utf-8"), re.DOTALL))):
        command: Any = typer.main.get_command(app)
        rest = list(words)
        while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
            command = command.commands[rest.pop(0)]
        if not isinstance(command, TyperGroup) and any(each.required for each in command.params):
            assert any(not word.startswith("-") for word in rest), words


def assert_options(command: Any, words: list[str]) -> None:
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    given = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert given <= known, (command.name, given - known)


def assert_arguments(command: Any, words: list[str]) -> None:
    """A command has all required arguments and options, and not too many. Prose may leave all arguments out, as in
    `rft audit --json`."""
    options = {name: each for each in command.params for name in each.opts if name.startswith("-")}
    arguments, rest = 0, list(words)
    while rest:
        word = rest.pop(0)
        if word in options and not options[word].is_flag:
            del rest[: options[word].nargs]
        elif not word.startswith("-"):
            arguments += 1
    places = [each for each in command.params if each.param_type_name == "argument"]
    least = sum(each.nargs for each in places if each.required)
    assert arguments == 0 or least <= arguments <= sum(each.nargs for each in places), (command.name, words)
    needed = {each.opts[0] for each in options.values() if each.required} if arguments else set()
    assert needed <= {word.partition("=")[0] for word in words}, (command.name, words)


def parts(words: list[str]) -> tuple[tuple[str, ...], set[str]]:
    """A command's name, and the options that it is given."""
    command: Any = typer.main.get_command(app)
    name: list[str] = []
    for word in words:
        if not isinstance(command, TyperGroup) or word not in command.commands:
            break
        command = command.commands[word]
        name.append(word)
    return tuple(name), {word.partition("=")[0] for word in words if word.startswith("--")}


def called() -> Iterator[list[str]]:
    """The words of the commands that tests run: those of a call, with all options that its function names, and those of
    a text like "plan tiny"."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            texts = [each.value for each in ast.walk(function) if isinstance(each, ast.Constant)]
            texts = [each for each in texts if isinstance(each, str)]
            yield from (each.split() for each in texts if re.match(r"\w+( \w+)? (tiny|--)", each))
            options = [each for each in texts if each.startswith("--")]
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("rft", "rft_process", "started"):
                    words = [each.value for each in call.args if isinstance(each, ast.Constant)]
                    yield [*map(str, words), *options]


BENCHMARKED = {("ui",): "benchmarks/ui.py"}
"""Commands that a benchmark runs."""


def test_every_command_of_the_documents_is_run_by_a_test_with_its_options() -> None:
    run_by_tests = [parts(words) for words in called()]
    for path in PAGES:
        for name, options in map(parts, commands(path.read_text(encoding="utf-8"))):
            runs = (options <= given | {"--help"} for ran, given in run_by_tests if ran == name)
            assert name in BENCHMARKED or any(runs), (path.name, name, options)
    assert all(page(each) for each in BENCHMARKED.values())


def shown(text: str, pattern: str) -> list[str]:
    """What console blocks and inline code hold of a pattern."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL).replace("\n", " "))
    return [found for code in [*blocks, *inline] for found in re.findall(pattern, code)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_target_of_make_and_every_benchmark_of_a_page_exists_with_its_options(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"^([\w-]+):", page("Makefile"), re.MULTILINE)
    for target in shown(text, r"\bmake ([a-z][\w-]*)"):
        assert target in targets, target
    for module, words in shown(text, r"python -m (benchmarks[\w.]*)([^\n&;|#]*)"):
        source = ROOT / f"{module.replace('.', '/')}.py"
        source = source if source.is_file() else source.with_suffix("") / "__main__.py"
        assert source.is_file(), module
        known = source.read_text(encoding="utf-8") + page("benchmarks/common.py")
        for option in re.findall(r"--([a-z][\w-]*)", words):
            names = (f"--{option}", f"{option.replace('-', '_')}:")
            assert any(name in known for name in names), (module, option)
