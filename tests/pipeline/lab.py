"""The state of the tiny campaign computed from an empty store, for whatever it says."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from rft_pipeline import models
from rft_pipeline.store import Record
from tests.pipeline.edits import Content
from tests.pipeline.watched import Seen, living_in, run


@dataclass(frozen=True)
class Computed:
    """A campaign's state, computed from an empty store."""

    records: dict[str, Record]
    refusal: str
    seen: Seen
    home: Path


class Lab:
    """The models, and each content's state computed from an empty store, once."""

    def __init__(self, root: Path, tiny_model: Path) -> None:
        self.root = root
        self.models = root / "models"
        shutil.copytree(tiny_model, self.models / "tiny_model")
        shutil.copytree(tiny_model, self.models / "other_model")
        _reinitialise(self.models / "other_model")
        self.weights = {folder.name: models.content_hash(folder) for folder in self.models.iterdir()}
        self._computed: dict[Content, Computed] = {}
        self._folders = 0
        self.killed = 0

    def folder(self) -> Path:
        self._folders += 1
        return self.root / f"{self._folders}"

    def computed(self, content: Content) -> Computed:
        content = replace(content, spelling="plain")
        if content not in self._computed:
            root = self.folder()
            campaign = root / "data" / "tiny"
            content.write(campaign, self.models)
            with living_in(root / "home", root / "data"):
                records, refusal = run(campaign, dict(content.versions), root / "seen")
            self._computed[content] = Computed(records, refusal, Seen.read(root / "seen"), root / "home")
        return self._computed[content]


def _reinitialise(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    LlamaForCausalLM(LlamaConfig.from_pretrained(folder)).save_pretrained(folder)


def assert_same_records(found: dict[str, Record], expected: dict[str, Record]) -> None:
    """Equal hashes, numbers and tables; the numbers of what was made now and the seconds are a run's own."""
    assert list(found) == list(expected)
    for name, record in found.items():
        other = expected[name]
        assert record.fingerprint == other.fingerprint, name
        assert record.content_hash == other.content_hash, name
        assert record.parts == other.parts
        assert _results(record.rows) == _results(other.rows)
        assert _results(record.metrics) == _results(other.metrics)
        assert record.files.keys() == other.files.keys()
        for file in record.files:
            if file.endswith(".parquet"):
                assert_frame_equal(pl.read_parquet(record.path(file)), pl.read_parquet(other.path(file)))
            elif file != "steps.jsonl":
                assert record.files[file] == other.files[file], f"{name}: {file}"


def _results(numbers: dict[str, Any]) -> dict[str, Any]:
    return {
        name: number for name, number in numbers.items() if name != "tokens_per_second" and not name.startswith("made")
    }
