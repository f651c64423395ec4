"""What can be known of a served model before it is asked."""

from pathlib import Path
from typing import Any

import pytest

from tests.check.small import campaign, errors, warnings

BINARY = {"protocol": "binary", "question": "Is it polite?"}
SERVER = {"url": "http://127.0.0.1:1/v1"}


def served(tmp_path: Path, model: str, **settings: Any) -> Path:
    judge = {"model": f"served:{model}", "server": SERVER, **settings}
    return campaign(tmp_path, [{"name": "polite", "judge": BINARY}], settings={"judge": judge})


@pytest.mark.parametrize("model", ["openai/gpt-oss-20b", "o3-mini", "gpt-5", "deepseek-ai/DeepSeek-R1", "QwQ-32B"])
def test_a_judge_known_to_reason_without_a_budget_is_a_warning(tmp_path: Path, model: str) -> None:
    assert warnings(served(tmp_path, model)) == [
        f"campaign.yaml: judge.max_tokens: served:{model} reasons before it answers; an answer may take 2048 tokens "
        "more than its criterion sets: set max_tokens to the total limit, and reasoning_effort if the server supports "
        "it"
    ]


def test_a_budget_that_a_reasoning_uses_up_is_a_warning(tmp_path: Path) -> None:
    (found,) = warnings(served(tmp_path, "o3", max_tokens=100))
    assert found.endswith("100 tokens may not be enough for reasoning and answer: allow 512 or more")


@pytest.mark.parametrize(
    ("model", "settings"),
    [("o3", {"max_tokens": 4096}), ("gpt-4o", {}), ("llama-3", {}), ("x-non-reasoning", {})],
)
def test_a_judge_with_room_for_its_answer_is_none(tmp_path: Path, model: str, settings: dict[str, Any]) -> None:
    assert warnings(served(tmp_path, model, **settings)) == []


def test_only_a_served_judge_is_told_how_to_answer(tmp_path: Path) -> None:
    folder = campaign(tmp_path, settings={"judge": {"model": "embedded", "reasoning_effort": "low"}})
    (finding,) = errors(folder)
    assert "reasoning_effort: only for models called 'served:NAME'; this one is 'embedded'" in finding
