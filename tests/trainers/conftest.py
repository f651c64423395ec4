"""Batches and trained policies that the tests of this folder share."""

from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.engines.transformers import TransformersEngine
from tests.trainers.watched import Seen, run, sampled_batch


@pytest.fixture(scope="session")
def batch(tiny_engine: TransformersEngine) -> pl.DataFrame:
    return sampled_batch(tiny_engine)


@pytest.fixture(scope="session")
def full(batch: pl.DataFrame, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return run(batch, tiny_model, tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="session")
def lora(batch: pl.DataFrame, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return run(batch, tiny_model, tmp_path_factory.mktemp("lora"), weights="lora")
