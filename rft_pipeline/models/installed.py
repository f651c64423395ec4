"""Content hashes of checkpoints, and models that were fetched or merged into the home's `models/`."""

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
from rft_pipeline.models.merging import MANIFEST, existing_base, is_adapter

_SETTLED = 2_000_000_000
"""Age in nanoseconds from which a file's time stamps show every later change."""


@dataclass(frozen=True)
class Model:
    """A checkpoint on disk, with the hash of its weights and tokenizer."""

    name: str
    folder: Path
    content_hash: str
    source: str


def fetched(name: str, folder: Path) -> Model | None:
    """The installed model in `folder`; None without a manifest. Hashed again if its files have changed since."""
    if not (folder / MANIFEST).is_file():
        return None
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    same = manifest.get("files") == _stamps(folder)
    return Model(name, folder, manifest["content_hash"] if same else content_hash(folder), manifest["source"])


@contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """Lock `folder` while a model is written or removed; other processes wait. Yields an empty work folder next to it,
    cleared of what a killed process left."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name(f".{folder.name}.partial")
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def refuse_other_files(folder: Path) -> None:
    """Raise `ModelError` if something other than an installed model is at `folder`. Call before a model is fetched."""
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise ModelError(
            f"{folder}: contains files but no {MANIFEST}, so it is not an installed model; move it away, or use its "
            "path as the model"
        )


def install(name: str, checkpoint: Path, folder: Path, source: str) -> Model:
    """Move a complete checkpoint to `folder`; call while `alone`."""
    model = Model(name, folder, content_hash(checkpoint), source)
    manifest = {"source": source, "content_hash": model.content_hash, "files": _stamps(checkpoint)}
    (checkpoint / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    checkpoint.rename(folder)
    return model


def content_hash(folder: Path) -> str:
    """Hash of a checkpoint's config, tokenizer and weights by file name and content."""
    files = _hashed(folder)
    if not any(path.suffix == ".safetensors" for path in files):
        raise ModelError(f"{folder}: no .safetensors weights; other formats are not loaded")
    return fingerprint({path.name: _sha256(path) for path in files})


def _hashed(folder: Path) -> list[Path]:
    """The files that are part of a checkpoint's content hash."""
    suffixes = {".json", ".safetensors", ".jinja", ".model", ".txt"}
    return sorted(path for path in folder.iterdir() if path.suffix in suffixes and path.name != MANIFEST)


def _stamps(folder: Path) -> dict[str, list[int]]:
    """Size and modification time (ns) of each hashed file: they show an edit without reading weights."""
    stats = {path.name: path.stat() for path in _hashed(folder)}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def _sha256(path: Path) -> str:
    """The sha256 of a file, computed once per process unless its time stamps change."""
    stat = path.stat()
    if time.time_ns() - stat.st_ctime_ns < _SETTLED:  # another write within the clock's resolution would not show
        return file_sha256(path)
    return _sha256_at(path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@lru_cache(maxsize=1024)
def _sha256_at(path: Path, *_: int) -> str:
    return file_sha256(path)


def hash_with_base(folder: Path) -> str:
    """The content hash of a checkpoint; for an adapter, it includes its base model."""
    own = content_hash(folder)
    if not is_adapter(folder):
        return own
    return fingerprint({"adapter": own, "base": content_hash(existing_base(folder))})
