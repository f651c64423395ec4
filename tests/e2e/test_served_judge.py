"""Judges over HTTP, on a real server: `transformers serve` with the embedded model."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from rft_pipeline import models
from rft_pipeline.campaign import EngineRuntime, Server
from rft_pipeline.engines.openai import OpenAIEngine
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.judges import AnyJudge, Judgement, make_judge
from rft_pipeline.rules import Rollout
from rft_pipeline.store import Home
from tests.engines.real_server import running
from tests.judges.engines import OneEngine, judgements

pytestmark = pytest.mark.e2e

REPLIES = (
    "I am so sorry about the broken lamp. We will send you a new one today.",
    "Read the manual. This is not our problem and you are wasting my time.",
    "Thank you for writing. Could you tell me your order number?",
    "no",
)
QUESTION = "Is the reply polite?"
GRADES = ["rude", "neither rude nor polite", "polite"]


@pytest.fixture(scope="module")
def folder() -> Path:
    return models.resolve("embedded", Home.find().models, Path.cwd()).folder


@pytest.fixture(scope="module")
def url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = [
        str(Path(sys.executable).parent / "transformers"),
        "serve",
        str(folder),
        "--device",
        "cpu",
        "--dtype",
        "float32",
    ]
    with running(command, tmp_path_factory.mktemp("serve") / "log") as found:
        yield found


@pytest.fixture(scope="module")
def served(folder: Path, url: str) -> OneEngine:
    return OneEngine(OpenAIEngine(f"served:{folder}", Server(url=url, concurrency=2, timeout_seconds=300), "judge"))


@pytest.fixture(scope="module")
def in_process(folder: Path) -> OneEngine:
    return OneEngine(TransformersEngine(folder, EngineRuntime(device="cpu", dtype="float32")))


def judged(engines: OneEngine, **settings: Any) -> list[Judgement]:
    config = TypeAdapter(AnyJudge).validate_python({"question": QUESTION, **settings})
    rollouts = [Rollout("My lamp is broken.", reply, "stop", {}) for reply in REPLIES]
    return judgements(make_judge(config, engines), rollouts)


def test_words_are_the_ones_the_model_says_in_process(served: OneEngine, in_process: OneEngine) -> None:
    there, here = (judged(engines, protocol="binary") for engines in (served, in_process))
    assert served.engine.without == {"logprobs"}
    for over_http, own in zip(there, here, strict=True):
        assert over_http.status in ("scored", "unscored")
        assert over_http.tokens > 50
        assert 1 <= over_http.tokens_out <= 4
        if (
            over_http.score is not None and own.score is not None and abs(own.score - 0.5) > 0.15
        ):  # nearer, rounding decides
            assert over_http.score == round(own.score)
    assert any(judgement.score is not None for judgement in there)


def test_grades_are_the_ones_the_model_gives_in_process(served: OneEngine, in_process: OneEngine) -> None:
    there, here = (judged(engines, protocol="graded", grades=GRADES) for engines in (served, in_process))
    for over_http, own in zip(there, here, strict=True):
        assert over_http.score is None or over_http.score in (0.0, 0.5, 1.0)
        logprobs = {part.split(":")[0]: float(part.split()[1]) for part in own.raw.removesuffix(" nats").split(", ")}
        first, second = sorted(logprobs.values(), reverse=True)[:2]
        if over_http.score is not None and first - second > 0.2:
            assert logprobs[str(int(over_http.score * 2) + 1)] == first


def test_an_answer_in_json_is_read_or_left_unscored(served: OneEngine, in_process: OneEngine) -> None:
    how = {"protocol": "binary", "answer": "json", "max_tokens": 32}
    there, here = (judged(engines, **how) for engines in (served, in_process))
    assert all(judgement.raw and judgement.status in ("scored", "unscored") for judgement in there)
    for over_http, own in zip(there, here, strict=True):
        assert own.raw[:8] == over_http.raw[:8]
