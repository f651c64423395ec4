"""Editing a campaign's files, and running its stages without Dagster."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from rft_pipeline.campaign import load_campaign
from rft_pipeline.engines import load
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home, Record


def edit(path: Path, where: str, value: Any) -> None:
    """Set one key of a YAML file; `where` is like `rollouts.group_size` or `criteria.0.weight`."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    *parents, last = [int(part) if part.isdigit() else part for part in where.split(".")]
    inner = content
    for part in parents:
        inner = inner.setdefault(part, {}) if isinstance(part, str) else inner[part]
    inner[last] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def run(folder: Path, names: Sequence[str] | None = None, rounds: int = 100) -> dict[str, Record]:
    """Run all stages up to a round, or those named; their records by name."""
    campaign = load_campaign(folder)
    pipeline = Pipeline(Home.find())
    wanted = names or [node.name for node in nodes(campaign) if node.round <= rounds]
    return {name: pipeline.run(campaign, name) for name in wanted}


def copy_home(folder: Path) -> None:
    """Replace the present home by a copy of the home of a campaign's folder."""
    home = Home.find().root
    shutil.rmtree(home)
    shutil.copytree(folder.parents[1] / "home", home)


def made(records: dict[str, Record]) -> list[str]:
    """The names of those that were not cached."""
    return [name for name, record in records.items() if not record.cached]


@contextmanager
def engines_counted() -> Iterator[list[Path]]:
    """The folders of the models that are loaded meanwhile, one entry a load."""
    loaded: list[Path] = []
    load_engine = load.load_engine

    def counting(folder: Path, runtime: Any) -> Any:
        loaded.append(folder)
        return load_engine(folder, runtime)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(load, "load_engine", counting)
        yield loaded
