"""What a training that was killed has left to go on from; imports nothing that trains, so that `rft plan` can ask."""

import json
import shutil
from pathlib import Path
from typing import Any

from rft_pipeline.fingerprint import file_sha256
from rft_pipeline.trainers.settings import Training

SLICES, DONE = "slices.json", "steps.jsonl"
"""In the kept folder: how the work was cut into pieces and shared out, and a line for each step that was taken."""


def last_state(kept: Path) -> Path | None:
    """The newest state that was saved whole: trainer_state.json is the last file that is written."""
    for folder in sorted(kept.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        try:
            json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            continue  # killed while it was being written
        return folder
    return None


def steps_of(state: Path | None) -> int:
    """How many steps had been taken when a state was saved."""
    return 0 if state is None else int(state.name.rpartition("-")[2])


def steps_done(kept: Path, training: Training) -> int:
    """How many steps of the same work a killed run has left done in its folder `kept`."""
    return steps_of(last_state(kept)) if _cut_alike(kept, training) else 0


def prepare(kept: Path, training: Training) -> None:
    """Make the folder. A state fits only work that is cut into the same pieces; another one is dropped."""
    if not _cut_alike(kept, training):
        shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True, exist_ok=True)
    (kept / SLICES).write_text(json.dumps(_slices(training)) + "\n", encoding="utf-8")


def micro_batch(training: Training) -> int:
    """Rows in one pass of one process: the most that `micro_batch_size` allows and that divide its share of a step."""
    share = training.batch_size // training.runtime.processes
    most = min(training.runtime.micro_batch_size, share)
    return next(size for size in range(most, 0, -1) if share % size == 0)


def _cut_alike(kept: Path, training: Training) -> bool:
    found = kept / SLICES
    return found.is_file() and json.loads(found.read_text(encoding="utf-8")) == _slices(training)


def _slices(training: Training) -> dict[str, Any]:
    runtime = training.runtime
    launched = {} if runtime.accelerate_config is None else {"launched": file_sha256(Path(runtime.accelerate_config))}
    return {"micro_batch": micro_batch(training), "processes": runtime.processes, **launched}
