import json
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from rft_pipeline.errors import ConfigError
from rft_pipeline.rules import AnyRule, Rollout, Rule

OWN = """
def share(rollout, of, most=1.0):
    '''The share of one letter.'''
    return rollout.completion.count(of) / len(rollout.completion), f"letter {of}"

def nothing(rollout):
    return None

def seen(rollout, since, most):
    import json
    return 1.0, json.dumps([vars(rollout), since, most])

def ends(rollout):
    import os, signal, sys, threading, time
    match rollout.completion:
        case "exit": sys.exit(3)
        case "crash": os.kill(os.getpid(), signal.SIGSEGV)
        case "quit": os._exit(7)
        case "hang": time.sleep(600)
        case "thread": threading.Thread(target=time.sleep, args=(600,)).start()
    print("this is no answer")
    return 1.0
"""


def rule(folder: Path, **config: Any) -> Rule:
    (folder / "own.py").write_text(OWN, encoding="utf-8")
    found: Rule = TypeAdapter(AnyRule).validate_python({"name": "python", **config}, context={"folder": folder})
    return found


def test_a_function_of_the_users_own_scores_a_rollout(tmp_path: Path) -> None:
    own = rule(tmp_path, function="own:share", settings={"of": "a"})
    assert own(Rollout("", "abab")) == (0.5, "letter a")


def test_the_function_sees_all_of_the_rollout_and_its_settings_as_json_has_them(tmp_path: Path) -> None:
    own = rule(tmp_path, function="own:seen", settings={"since": date(2026, 1, 2), "most": 3})
    rollout = Rollout(
        "Where?", "\N{GRINNING FACE}\nHere.", "length", {"n": 1, "tags": ["a"]}, "Be brief.", last_turn="Where?"
    )
    score, reason = own(rollout)
    assert (score, json.loads(reason)) == (
        1.0,
        [asdict(rollout), "2026-01-02", 3],
    )


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"function": "own:share", "settings": {"of": "a"}}, "ZeroDivisionError: division by zero"),
        ({"function": "own:share"}, "TypeError: share() missing 1 required positional argument: 'of'"),
        ({"function": "own:nothing"}, ""),
    ],
)
def test_what_the_function_cannot_score_is_unscored(tmp_path: Path, config: dict[str, Any], reason: str) -> None:
    assert rule(tmp_path, **config)(Rollout("", "")) == (None, reason)


def test_another_code_is_another_rule(tmp_path: Path) -> None:
    before = rule(tmp_path, function="own:share").model_dump()
    (tmp_path / "own.py").write_text(OWN + "\n", encoding="utf-8")
    after = TypeAdapter(AnyRule).validate_python(
        {"name": "python", "function": "own:share"}, context={"folder": tmp_path}
    )
    assert after.model_dump() != before


def test_a_function_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="own:absent: cannot be loaded: AttributeError"):
        rule(tmp_path, function="own:absent")(Rollout("", "x"))
    with pytest.raises(ValidationError, match=r"no module 'nowhere' in the rubric's folder"):
        rule(tmp_path, function="nowhere:share")


def test_a_module_in_a_package_is_hashed_without_running_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "installed" / "shop_rules"
    package.mkdir(parents=True)
    ran = tmp_path / "ran"
    (package / "__init__.py").write_text(f"open({str(ran)!r}, 'w').close()\n", encoding="utf-8")
    (package / "words.py").write_text("ONE = 1.0\n", encoding="utf-8")
    (package / "own.py").write_text("from .words import ONE\ndef one(rollout):\n    return ONE\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "installed")
    installed = rule(tmp_path, function="shop_rules.own:one")
    assert not ran.exists()
    assert installed(Rollout("", "x")).score == 1.0
    assert ran.exists()


def test_a_file_edited_between_loading_and_running_is_refused(tmp_path: Path) -> None:
    own = rule(tmp_path, function="own:nothing")
    (tmp_path / "own.py").write_text("def nothing(rollout):\n    return 1.0\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"own.py: was edited after campaign.yaml was loaded"):
        own(Rollout("", "x"))


def test_an_exit_a_crash_or_a_hang_costs_one_reply(tmp_path: Path) -> None:
    own = rule(tmp_path, function="own:ends", timeout=2)
    found = [own(Rollout("", each)) for each in ("exit", "good", "crash", "good", "quit", "hang", "thread", "good")]
    assert [each.score for each in found] == [None, 1.0, None, 1.0, None, None, 1.0, 1.0]
    assert [found[i].reason for i in (0, 2, 4, 5)] == [
        "SystemExit: 3",
        "its process was killed by SIGSEGV",
        "its process ended with status 7",
        "not finished within 2 s",
    ]


def test_a_module_that_exits_when_it_is_loaded_is_a_fault_and_no_exit(tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text("import sys; sys.exit(1)\n", encoding="utf-8")
    leaves = TypeAdapter(AnyRule).validate_python(
        {"name": "python", "function": "leaves:score"}, context={"folder": tmp_path}
    )
    assert list(leaves.faults()) == ["SystemExit: 1"]
