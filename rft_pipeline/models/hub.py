"""Downloads models from the hub."""

import shutil
from pathlib import Path

from rft_pipeline.errors import ModelError
from rft_pipeline.models.installed import Model, alone, fetched, install, refuse_other_files


def fetch_from_hub(name: str, models: Path) -> Model:
    repo, _, revision = name.partition("@")
    folder = models / name.replace("/", "--")
    with alone(folder) as scratch:
        if found := fetched(name, folder):
            return found
        refuse_other_files(folder)
        download(repo, revision or "main", scratch / "checkpoint")
        return install(name, scratch / "checkpoint", folder, f"hub {name}")


def download(repo: str, revision: str, target: Path) -> None:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "*.txt"]
    try:
        snapshot_download(repo, revision=revision, local_dir=target, allow_patterns=patterns, etag_timeout=5)
    except Exception as error:  # the hub's client raises errors of its HTTP library
        shutil.rmtree(target, ignore_errors=True)  # another source must not find files of this one
        what = str(error).partition("\n")[0]
        raise ModelError(f"hub model {repo} at {revision}: {type(error).__name__}: {what}") from error
    shutil.rmtree(target / ".cache", ignore_errors=True)
