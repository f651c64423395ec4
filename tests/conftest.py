"""Fixtures shared by all tests: a tiny random model, an engine on it, and a campaign that uses it.

Nothing here reaches the network, and nothing a test does leaves its temporary folder.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
os.environ["COLUMNS"] = "200"  # tables are read line by line, and a console takes its width when it is made
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"

import gc
import platform
import re
import shutil
import sqlite3
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock
from sqlalchemy import Engine, event

from tests.tiny_campaign import write_campaign, write_home, write_on_policy
from tests.tiny_model import write_thinking_model, write_tiny_model

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from rft_pipeline.engines.transformers import TransformersEngine
    from tests.engines.serving import Serving

pytest_plugins = ["tests.architectures"]

LONG = ("e2e", "waits")
"""Marks of tests that take minutes, mostly waiting: their files start first, so that none is left alone at the end."""

_frozen_at = 0


def pytest_report_header() -> list[str]:
    """What decides how the tiny model's numbers are rounded, and so what it samples."""
    settings = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "RFT_TEST_MODEL_SEED")
    return [
        "kernels: " + ", ".join(f"{name}={os.environ.get(name, 'not set')}" for name in settings),
        f"CPU: {cpu()}",
    ]


def cpu(info: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU's name and which of the instruction sets it has that bf16 kernels differ by."""
    if not info.exists():
        return platform.processor() or platform.machine()
    found = dict(re.findall(r"^(model name|flags)\s*: (.*)$", info.read_text(encoding="utf-8"), re.MULTILINE))
    flags = found.get("flags", "").split()
    sets = (f"{name} {'yes' if name in flags else 'no'}" for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16"))
    return f"{found.get('model name', platform.machine())}: {', '.join(sets)}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a tiny model, and start with the files that take long; those without a model, which take
    seconds, end the run on all cores."""
    for item in items:
        if {"tiny_model", "thinking_model", "architecture"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("model")
    first, then = (
        {item.path for item in items if any(item.get_closest_marker(mark) for mark in marks)}
        for marks in (LONG, ("model",))
    )
    items.sort(key=lambda item: (item.path not in first, item.path not in then))


@event.listens_for(Engine, "connect")
def wait_for_no_disk(connection: Any, _: object) -> None:
    """Dagster and MLflow write small transactions by the thousand. No test loses power."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> "Generator[None, object, object]":
    """Look for no garbage while thousands of modules are imported, which leave none."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Take what modules hold out of the garbage collection whenever many were imported: every training collects all
    garbage, which takes 0.4 s with them, longer than its steps."""
    global _frozen_at
    if len(sys.modules) > _frozen_at + 500:
        gc.collect()
        gc.freeze()
        _frozen_at = len(sys.modules)


def made_once(name: str, tmp_path_factory: pytest.TempPathFactory, make: "Callable[[Path], Any]") -> Path:
    """A folder that `make` fills once, for all processes that pytest divides the tests among."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    made = folder.with_name(f"{name} is made")
    with FileLock(f"{folder}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers with a tokenizer trained on six sentences and the ChatML template."""
    return made_once("tiny_model", tmp_path_factory, write_tiny_model)


@pytest.fixture(scope="session")
def thinking_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a chat template of Qwen 3's kind, often closing its thought or ending its turn."""
    return made_once("thinking_model", tmp_path_factory, write_thinking_model)


@pytest.fixture(scope="session")
def tiny_engine(tiny_model: Path) -> "TransformersEngine":
    """The transformers engine on the tiny model, in float32, with batches small enough that tests need several."""
    from rft_pipeline.campaign import EngineRuntime
    from rft_pipeline.engines.transformers import TransformersEngine

    return TransformersEngine(tiny_model, EngineRuntime(batch_size=4, dtype="float32", device="cpu"))


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without experiments: MLflow takes seconds to create one."""
    from mlflow import MlflowClient

    def make(folder: Path) -> None:
        MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}").search_experiments(max_results=1)

    return made_once("empty_mlflow", tmp_path_factory, make) / "mlflow.db"


@pytest.fixture
def tiny_campaign(tiny_model: Path, empty_mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a campaign of two rounds of 4 prompts × 4 rollouts × 8 tokens, with RFT_HOME and RFT_DATA set.

    The home has an empty MLflow database and nothing else.
    """
    _live_in(tmp_path, monkeypatch)
    write_home(tmp_path / "home", empty_mlflow)
    return write_campaign(tmp_path, tiny_model)


@pytest.fixture
def on_policy(tiny_campaign: Path, tiny_model: Path) -> Path:
    """The folder of the tiny campaign in generations."""
    shutil.rmtree(tiny_campaign)
    return write_on_policy(tiny_campaign.parents[1], tiny_model)


@pytest.fixture(scope="module")
def on_policy_once(tiny_model: Path, empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Path]":
    """The folder of the tiny campaign in generations with RFT_HOME and RFT_DATA set, one for all tests of a file: to
    make something once that they read or copy."""
    root = tmp_path_factory.mktemp("on_policy_once")
    with new_home(root, empty_mlflow):
        yield write_on_policy(root, tiny_model)


@pytest.fixture(scope="session")
def finished(tiny_model: Path, empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data`, where the tiny campaign lies, and `home`, where Dagster made all of it; only to be read.

    Its held-out replies are planted: round 1 is better than base and is the champion, and round 2 is worse than base.
    """
    from tests.assets.small import materialize
    from tests.planted import replies_planted

    def make(folder: Path) -> None:
        with new_home(folder / "read", empty_mlflow), replies_planted(tiny_model):
            assert materialize(write_campaign(folder / "read", tiny_model)).success
        shutil.copytree(folder / "read", folder / "copied")

    return made_once("finished", tmp_path_factory, make) / "read"


def copy_finished(finished: Path, to: Path) -> None:
    """Copy a finished campaign with its home: from beside it, as files of an open database come and go."""
    shutil.copytree(finished.with_name("copied"), to, dirs_exist_ok=True)


def copy_root(made: Path, folder: Path) -> None:
    """Replace the data and the home of a campaign's folder by copies of those below `made`."""
    for name in ("data", "home"):
        shutil.rmtree(folder.parents[1] / name)
        shutil.copytree(made / name, folder.parents[1] / name)


@pytest.fixture
def finished_home(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the finished campaign with RFT_HOME and RFT_DATA set; only to be read."""
    _live_in(finished, monkeypatch)
    return finished / "data" / "tiny"


@pytest.fixture
def finished_copy(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a copy of the finished campaign, with RFT_HOME and RFT_DATA set, to be edited and run again."""
    copy_finished(finished, tmp_path)
    _live_in(tmp_path, monkeypatch)
    return tmp_path / "data" / "tiny"


@pytest.fixture(scope="session")
def faulty_process() -> "Iterator[Serving]":
    """The faulty server in a process of its own."""
    from tests.engines.serving import serving

    with serving() as found:
        yield found


@pytest.fixture
def server(faulty_process: "Serving") -> "Serving":
    """The faulty server, which has forgotten all it was told and asked."""
    faulty_process.plan()
    return faulty_process


@contextmanager
def new_home(folder: Path, empty_mlflow: Path) -> "Iterator[pytest.MonkeyPatch]":
    """Live in a folder with an empty home, for what is made once and then read or copied."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        _live_in(folder, monkeypatch)
        write_home(folder / "home", empty_mlflow)
        yield monkeypatch


def _live_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RFT_HOME", str(folder / "home"))
    monkeypatch.setenv("RFT_DATA", str(folder / "data"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("RFT_DAGSTER_POSTGRES", raising=False)
