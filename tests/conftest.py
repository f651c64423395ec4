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
import json
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rft_pipeline.engines.transformers import TransformersEngine
    from tests.engines.serving import Serving

pytest_plugins = ["tests.architectures"]

SENTENCES = (
    "Yes, we are very sorry about the late parcel and we will help you today.",
    "No, the lamp is not good and the chair is bad.",
    "Please send your order number and the desk will be repaired.",
    "Thank you for the kind words, the table looks good and the price is not bad.",
    "The tone of this message is warm, not cold, and the answer is good.",
    "You are a polite and helpful support agent. You are a rude and cold person.",
)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TOPICS = (
    "lamp",
    "chair",
    "desk",
    "table",
    "parcel",
    "order",
    "price",
    "message",
    "answer",
    "tone",
    "number",
    "agent",
    "person",
    "words",
    "day",
    "good lamp",
    "late parcel",
    "bad chair",
)

RUBRIC: dict[str, Any] = {
    "criteria": [
        {
            "name": "polite",
            "judge": {
                "protocol": "contrast",
                "positive": "You are a polite and helpful support agent.",
                "negative": "You are a rude and cold person.",
                "squash": {"scale": 0.05},
            },
        },
        {"name": "relevant", "judge": {"protocol": "relevance", "system": "You are a support agent."}},
        {"name": "says_enough", "judge": {"protocol": "rule", "rule": {"name": "length", "min_words": 6}}},
        {"name": "has_an_e", "weight": 0.5, "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": "e"}}},
    ]
}


MODEL_SEED = int(os.environ.get("RFT_TEST_MODEL_SEED", "0"))
"""Seed of the tiny model's random weights. No test may depend on it: with another seed the model samples other replies,
as it does on another CPU, whose kernels round differently."""

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
    """Mark the tests that sample, score or train with the tiny model: `make test-avx2` runs them on other kernels."""
    for item in items:
        if "tiny_model" in getattr(item, "fixturenames", ()):
            item.add_marker("model")


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


def write_tiny_model(folder: Path, hidden_size: int = 64) -> Path:
    """Write the tiny model into `folder` and return it; it has four heads, whatever its width."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = write_tiny_tokenizer(folder)
    torch.manual_seed(MODEL_SEED)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.1,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_tiny_tokenizer(folder: Path) -> Any:
    """Write the tiny model's tokenizer into `folder` and return it: 500 tokens, `<|im_end|>` (2) ends a turn."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", extra_special_tokens=["<|im_start|>"]
    )
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    return tokenizer


@pytest.fixture(scope="session")
def tiny_engine(tiny_model: Path) -> "TransformersEngine":
    """The transformers engine on the tiny model, in float32, with batches small enough that tests need several."""
    from rft_pipeline.campaign import EngineRuntime
    from rft_pipeline.engines.transformers import TransformersEngine

    return TransformersEngine(tiny_model, EngineRuntime(batch_size=4, dtype="float32", device="cpu"))


@pytest.fixture
def tiny_campaign(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a campaign of two rounds of 4 prompts × 4 rollouts × 8 tokens, with RFT_HOME and RFT_DATA set."""
    _live_in(tmp_path, monkeypatch)
    return write_campaign(tmp_path, tiny_model)


@pytest.fixture(scope="session")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data`, where the tiny campaign lies, and `home`, where Dagster made all of it; only to be read.

    Its held-out replies are planted: round 1 is better than base and is the champion, and round 2 is worse than base.
    """
    from tests.assets.small import materialize
    from tests.planted import replies_planted

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as monkeypatch, replies_planted(tiny_model):
            _live_in(folder / "read", monkeypatch)
            assert materialize(write_campaign(folder / "read", tiny_model)).success
        shutil.copytree(folder / "read", folder / "copied")

    return made_once("finished", tmp_path_factory, make) / "read"


def copy_finished(finished: Path, to: Path) -> None:
    """Copy a finished campaign with its home: from beside it, as files of an open database come and go."""
    shutil.copytree(finished.with_name("copied"), to, dirs_exist_ok=True)


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


def _live_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RFT_HOME", str(folder / "home"))
    monkeypatch.setenv("RFT_DATA", str(folder / "data"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("RFT_DAGSTER_POSTGRES", raising=False)


def write_campaign(root: Path, model: Path) -> Path:
    """Write the tiny campaign below `root / "data"`; returns its folder."""
    folder = root / "data" / "tiny"
    (folder / "prompts").mkdir(parents=True)
    runtime = {"batch_size": 16, "dtype": "float32", "device": "cpu"}
    campaign = {
        "name": "tiny",
        "seed": 7,
        "rounds": 2,
        "policy": {"model": str(model), "system": "You are a support agent."},
        "prompts": {"train": "prompts/train.jsonl", "eval": "prompts/eval.jsonl"},
        "rollouts": {
            "prompts_per_round": 4,
            "group_size": 4,
            "sampling": {"max_new_tokens": 8},
            "runtime": runtime,
        },
        "judge": {"model": str(model), "runtime": runtime},
        "training": {
            "learning_rate": 1e-3,
            "batch_size": 8,
            "runtime": {"micro_batch_size": 8, "device": "cpu"},
        },
        "evaluation": {
            "sampling": {"temperature": 0.7, "max_new_tokens": 8},
            "resamples": 100,
            "runtime": runtime,
        },
        "promotion": {"min_prompts": 6, "error": 0.45},
    }
    _write_yaml(folder / "campaign.yaml", campaign)
    _write_yaml(folder / "rubric.yaml", RUBRIC)
    for split, topics in (("train", TOPICS[:12]), ("eval", TOPICS[12:])):
        rows = [
            {"id": f"{split}-{i:02d}", "prompt": f"Please help with the {topic}."} for i, topic in enumerate(topics, 1)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "prompts" / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
