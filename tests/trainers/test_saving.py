"""What a checkpoint says beside its weights is what the policy said, and whatever cannot be saved is known before."""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from rft_pipeline.engines.weights import load_weights
from rft_pipeline.errors import ModelError, StoreError
from rft_pipeline.models.merging import saveable_generation, write_whole
from rft_pipeline.trainers.methods import METHODS
from tests.trainers.test_examples import with_references
from tests.trainers.watched import job_of

GREEDY = {"do_sample": False, "temperature": 0.9, "eos_token_id": [0, 2]}


class Usage(NamedTuple):
    free: int


def with_generation(tiny_model: Path, folder: Path, settings: dict[str, Any]) -> Path:
    shutil.copytree(tiny_model, folder)
    (folder / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def said(folder: Path, file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / file).read_text(encoding="utf-8"))
    return {name: value for name, value in found.items() if name not in ("transformers_version", "dtype")}


def train(batch: pl.DataFrame, start: Path, scratch: Path, method: str, **training: Any) -> Path:
    runtime = {"micro_batch_size": 4, "device": "cpu", "save_steps": 1}
    how = {"method": method, "epochs": 1, "batch_size": 4, "runtime": runtime, **training}
    METHODS[method].train(job_of(with_references(batch), start, scratch, lambda step, metrics: None, **how))
    return scratch / "checkpoint"


@pytest.mark.parametrize("method", ["grpo", "raft", "dpo", "sft"])
def test_a_checkpoint_is_configured_as_the_policy_was(
    method: str, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    start = with_generation(tiny_model, tmp_path / "start", GREEDY)
    folder = train(batch, start, tmp_path, method)
    assert said(folder, "config.json") == said(start, "config.json")
    # nothing is sampled, so that no temperature can be saved; all end tokens stay
    assert said(folder, "generation_config.json") == {"do_sample": False, "eos_token_id": [0, 2]}
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (folder / file).read_bytes() == (start / file).read_bytes()


def test_an_adapter_is_merged_into_whole_weights_configured_as_its_base(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start = with_generation(tiny_model, tmp_path / "start", GREEDY)
    write_whole(train(batch, start, tmp_path, "grpo", weights="lora"), tmp_path / "whole")
    assert said(tmp_path / "whole", "config.json") == said(start, "config.json")
    assert said(tmp_path / "whole", "generation_config.json") == {"do_sample": False, "eos_token_id": [0, 2]}
    assert "temperature 0.9 cannot be saved and is left out" in caplog.text


@pytest.mark.parametrize(
    ("settings", "left_out"),
    [
        ({"temperature": 0.9, "top_p": 0.5, "do_sample": True}, {}),
        ({"top_k": 20, "do_sample": False}, {"top_k": 20}),
        ({"length_penalty": 2.0, "num_beams": 1}, {"length_penalty": 2.0}),
        ({"length_penalty": 2.0, "num_beams": 4}, {}),
        ({"max_new_tokens": -1, "eos_token_id": 2}, {"max_new_tokens": -1}),
        ({"pad_token_id": -1}, {"pad_token_id": -1}),
    ],
)
def test_settings_that_do_not_go_together_are_left_out(
    settings: dict[str, Any], left_out: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    folder = with_generation(tiny_model, tmp_path / "model", settings)
    kept, found = saveable_generation(folder)
    assert found == left_out
    assert kept | found == settings
    load_weights(folder, "float32", "cpu").save_pretrained(tmp_path / "saved")


def test_a_file_of_no_settings_is_named(tiny_model: Path, tmp_path: Path) -> None:
    folder = with_generation(tiny_model, tmp_path / "model", {})
    (folder / "generation_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"generation_config\.json: not JSON"):
        saveable_generation(folder)


def test_a_disk_without_room_for_the_checkpoint_is_named_before_training(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10_000))
    logged: list[int] = []
    job = job_of(batch, tiny_model, tmp_path, lambda step, metrics: logged.append(step))
    with pytest.raises(StoreError, match=r"training would need .* GiB on the disk of .*free some space"):
        METHODS["grpo"].train(job)
    assert logged == []
