"""Checkpoints in folders: their content hash, and models that were fetched or merged into the home's `models/`."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from filelock import FileLock

from rft_pipeline.errors import ModelError
from rft_pipeline.fingerprint import file_sha256, fingerprint
from rft_pipeline.models.merging import MANIFEST, base_of, is_adapter

_SETTLED = 2_000_000_000
"""Nanoseconds after its last change from which a file's time stamps tell every later change."""


@dataclass(frozen=True)
class Model:
    """A checkpoint on disk and the hash of its weights and tokenizer."""

    name: str
    folder: Path
    content_hash: str
    source: str


def fetched(name: str, folder: Path) -> Model | None:
    """The model in a folder that was installed whole."""
    if not (folder / MANIFEST).is_file():
        return None
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    same = manifest.get("files") == _stamps(folder)
    return Model(name, folder, manifest["content_hash"] if same else content_hash(folder), manifest["source"])


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


def install(name: str, checkpoint: Path, folder: Path, source: str) -> Model:
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


def hash_with_base(folder: Path) -> str:
    """The content hash of a folder; of an adapter, together with the base whose weights it is loaded on."""
    own = content_hash(folder)
    if not is_adapter(folder):
        return own
    base = base_of(folder)
    if not base.is_dir():
        raise ModelError(f"{folder}: the base model of this adapter, {base}, is gone")
    return fingerprint({"adapter": own, "base": content_hash(base)})
