"""The saved states of a killed training. Imports no heavy library, so that `rft plan` can use it."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rft_pipeline.errors import StoreError
from rft_pipeline.fingerprint import file_sha256

if TYPE_CHECKING:
    from rft_pipeline.trainers.settings import Training

SLICES, DONE = "slices.json", "steps.jsonl"
"""Files in the kept folder: how the work was divided, and one line per finished step."""


def last_state(kept: Path) -> Path | None:
    """The newest complete state; trainer_state.json is written last."""
    for folder in sorted(kept.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        try:
            json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            continue  # incomplete
        return folder
    return None


def steps_of(state: Path | None) -> int:
    """The number of steps before a state was saved."""
    return 0 if state is None else int(state.name.rpartition("-")[2])


def steps_done(kept: Path, training: "Training") -> int:
    """The number of finished steps of the same work in the folder `kept`."""
    return steps_of(last_state(kept)) if _divided_alike(kept, training) else 0


def earlier_steps(kept: Path, count: int) -> list[tuple[int, dict[str, float]]]:
    """The numbers and metrics of the first `count` steps."""
    found = []
    for line in _first_lines(kept, count):
        metrics = json.loads(line)
        found.append((metrics.pop("step"), metrics))
    return found


def forget_later_steps(kept: Path, count: int) -> None:
    """Keep only the first `count` steps in the log."""
    lines = _first_lines(kept, count)
    (kept / DONE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _first_lines(kept: Path, count: int) -> list[str]:
    return (kept / DONE).read_text(encoding="utf-8").splitlines()[:count] if count else []


def prepare(kept: Path, training: "Training") -> None:
    """Make the folder. A state of work that was divided differently is deleted."""
    if not _divided_alike(kept, training):
        shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True, exist_ok=True)
    (kept / SLICES).write_text(json.dumps(_slices(training)) + "\n", encoding="utf-8")


def check_room(model: Any, training: "Training", kept: Path, steps: int | None) -> None:
    """Raise `StoreError` if the checkpoint and the saved states do not fit on the disk.

    Weights are fp32. A checkpoint holds all, or those of an adapter; a state the trained ones and two moments per
    weight. The previous state is deleted only after the next is written.
    """
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    written = trained if training.weights == "lora" else sum(weight.numel() for weight in model.parameters())
    expected = 2 if steps is None else min(2, steps // training.runtime.save_steps)
    states = max(0, expected - (last_state(kept) is not None))
    needed = 4 * (written + 3 * trained * states)
    free = shutil.disk_usage(kept).free
    if free < needed:
        raise StoreError(
            f"training would need {needed / 2**30:.1f} GiB on the disk of {kept}, which has {free / 2**30:.1f} "
            "GiB left; free some space (or move RFT_HOME), or save states less often (training.runtime.save_steps)"
        )


def micro_batch(training: "Training") -> int:
    """Rows in one pass of one process: the largest divisor of its share of a step up to `micro_batch_size`."""
    share = training.batch_size // training.runtime.processes
    most = min(training.runtime.micro_batch_size, share)
    return next(size for size in range(most, 0, -1) if share % size == 0)


def _divided_alike(kept: Path, training: "Training") -> bool:
    found = kept / SLICES
    return found.is_file() and json.loads(found.read_text(encoding="utf-8")) == _slices(training)


def _slices(training: "Training") -> dict[str, Any]:
    runtime = training.runtime
    launched = {} if runtime.accelerate_config is None else {"launched": file_sha256(Path(runtime.accelerate_config))}
    return {
        "micro_batch": micro_batch(training),
        "processes": runtime.processes,
        "packing": runtime.packing,
        **launched,
    }
