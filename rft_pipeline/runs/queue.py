"""Which steps of a run wait for a slot of a Dagster pool, and which steps hold the slots."""

from typing import TYPE_CHECKING

from rft_pipeline.runs.dead_runs import HOST, PID

if TYPE_CHECKING:
    from dagster import DagsterInstance


def queued(instance: "DagsterInstance", run_id: str) -> dict[str, str]:
    """Asset key of each waiting step → what it waits for, in words."""
    storage = instance.event_log_storage
    waiting: dict[str, str] = {}
    for pool in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(pool)
        steps = [step for step in info.pending_steps if step.run_id == run_id and step.assigned_timestamp is None]
        if steps and info.claimed_slots:
            holders = ", ".join(_holder(instance, slot.run_id, slot.step_key, run_id) for slot in info.claimed_slots)
            waiting |= {_key(step.step_key): f"waiting for the {pool}: {holders}" for step in steps}
    return waiting


def _holder(instance: "DagsterInstance", holder: str, step_key: str, run_id: str) -> str:
    """`other/round_1/rollouts of run 1a2b3c4d (process 71 on host)`; only the key for a step of the same run."""
    if holder == run_id:
        return _key(step_key)
    run = instance.get_run_by_id(holder)
    tags = run.tags if run else {}
    process = f" (process {tags[PID]} on {tags[HOST]})" if PID in tags else ""
    return f"{_key(step_key)} of run {holder[:8]}{process}"


def _key(step_key: str) -> str:
    return step_key.replace("__", "/")
