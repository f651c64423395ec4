"""Exit codes, as docs/operations.md lists them, and the schemas of `--json`."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
from rich.console import Console

from rft_pipeline import __version__
from rft_pipeline.cli import console, new, show
from rft_pipeline.cli.app import app
from rft_pipeline.cli.outputs import OUTPUTS
from rft_pipeline.errors import Exit
from tests.cli.small import ROOT, Rft, rft_process
from tests.runs import edit


def test_the_documentation_lists_every_exit_code() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text[text.index("| code | meaning |") :]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == list(Exit)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("--version", Exit.OK),
        ("check tiny", Exit.OK),
        ("verify", Exit.OK),
        ("trace 0123456789abcdef", Exit.FAILED),
        ("check tinny", Exit.BAD_INPUT),
        ("verify tinny", Exit.BAD_INPUT),
        ("run tiny --rounds 0", Exit.BAD_INPUT),
        ("no_such_command", Exit.BAD_INPUT),
        ("promote tiny --round 2", Exit.REFUSED),
    ],
)
def test_each_outcome_has_its_exit_code(rft: Rft, finished_home: Path, command: str, code: Exit) -> None:
    assert rft(*command.split()).code == code


def test_a_last_round_that_the_alarms_stopped_is_a_refusal(
    rft: Rft, finished_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"alarms": {"level": "stop"}}
    monkeypatch.setattr("rft_pipeline.cli.launch.launch", lambda *_: None)
    monkeypatch.setattr(show, "rounds", lambda *_: said)
    assert rft("run", "tiny").code == Exit.REFUSED
    said["alarms"]["level"] = "warn"
    assert rft("run", "tiny").code == Exit.OK


def test_the_version_is_shown(rft: Rft) -> None:
    assert rft("--version").out == f"rft {__version__}\n"


def test_completion_is_installed_for_a_shell(rft: Rft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert rft("--install-completion", "bash").code == 0
    assert any("_RFT_COMPLETE" in each.read_text(encoding="utf-8") for each in tmp_path.rglob("*") if each.is_file())


def test_a_shell_completes_the_names_of_campaigns(
    rft: Rft, tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"_RFT_COMPLETE": "complete_bash", "COMP_WORDS": "rft check t", "COMP_CWORD": "2"}.items():
        monkeypatch.setenv(name, value)
    assert rft().out.split() == ["tiny"]


def with_json(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The commands that have `--json`, as `rft schema` names them."""
    for name, each in getattr(command, "commands", {}).items():
        yield from with_json(each, (*path, name))
    if any("--json" in each.opts for each in command.params):
        yield "_".join(path)


def test_the_json_of_every_command_has_a_schema() -> None:
    assert sorted(with_json(typer.main.get_command(app))) == sorted(OUTPUTS)
    assert set(new.WHICH) == {"campaign", "rubric", "reference", *OUTPUTS}


@pytest.mark.parametrize(
    "command",
    [
        *("check", "status", "plan tiny", "report tiny", "report tiny --samples 1", "verify", "gc", "labels show tiny"),
        *("trace tiny/round_2/eval_reports", "trace tiny:polite", "trace train-01"),
        "diff tiny/round_1/judge_scores tiny/round_2/judge_scores",
        "diff tiny/round_1/checkpoints tiny/round_2/checkpoints",
    ],
)
def test_what_is_printed_fits_the_schema_of_the_command(rft: Rft, finished_home: Path, command: str) -> None:
    schema = json.loads(rft("schema", "_".join(command.split()[: 2 if command.startswith("labels") else 1])).out)
    printed = json.loads(rft(*command.split(), "--json").out)
    jsonschema.validate(printed, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**printed, "other": 1}, schema)


def test_the_schema_of_a_plan_fits_what_an_edit_prints_and_that_of_check_a_bad_campaign(
    rft: Rft, finished_copy: Path
) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.0.weight", 3)
    jsonschema.validate(json.loads(rft("plan", "tiny", "--json").out), json.loads(rft("schema", "plan").out))
    (finished_copy / "rubric.yaml").unlink()
    jsonschema.validate(json.loads(rft("check", "tiny", "--json").out), json.loads(rft("schema", "check").out))


def test_check_as_json_has_the_errors_of_one_campaign_and_the_facts_of_another(rft: Rft, finished_copy: Path) -> None:
    bad = finished_copy.with_name("bad")
    bad.mkdir()
    (bad / "campaign.yaml").write_text("name: bad\n", encoding="utf-8")
    said = rft("check", "--json")
    assert said.code == Exit.BAD_INPUT
    one, two = json.loads(said.out)["campaigns"]
    assert one["campaign"] == "bad"
    assert one["errors"] == [f"{bad / 'rubric.yaml'}: no such file"]
    assert (two["campaign"], two["errors"], two["train_prompts"], two["rounds"]) == ("tiny", [], 12, 2)
    assert two["criteria"][2]["scored_by"] == "rule: length"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("schema", "campain"), "no schema 'campain' (did you mean 'campaign'?); there are: campaign, rubric,"),
        (("labels", "export", "tiny", "--format", "xls"), "Invalid value for '--format': 'xls' is not one of 'csv'"),
        (("run", "tiny", "--rounds", "two"), "Invalid value for '--rounds': must be a whole number"),
        (("run", "tiny", "--rounds", "0"), "Invalid value for '--rounds': must be greater than or equal to 1"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_refused_in_plain_words(
    rft: Rft, words: tuple[str, ...], message: str
) -> None:
    said = rft(*words)
    assert said.code == 2
    assert message in " ".join(said.err.replace("│", " ").split())


@pytest.mark.parametrize("terminal", [True, False])
def test_a_line_ends_between_words_on_a_terminal_and_is_whole_in_a_file(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    path = "/a/long/path/without/spaces/that/must/stay/whole"
    file = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=file, width=30, force_terminal=terminal, no_color=True))
    console.fail(f"this file cannot be read: {path}; write it again")
    lines = [re.sub(r"\x1b\[[\d;]*m", "", each).rstrip() for each in file.getvalue().splitlines()]
    whole = f"error this file cannot be read: {path}; write it again"
    assert lines == (["error this file cannot be", "read:", f"{path};", "write it again"] if terminal else [whole])


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("rft plan ti", ["tiny"]),
        ("rft labels exp", ["export"]),
        ("rft new mine --like ticket", ["ticket_subject"]),
        ("rft schema ru", ["rubric", "rubric_suggest"]),
    ],
)
def test_a_shell_completes_commands_campaigns_and_values(
    tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch, typed: str, completed: list[str]
) -> None:
    assert tiny_campaign.name == "tiny"
    monkeypatch.setenv("_RFT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
    assert rft_process().out.split() == completed
