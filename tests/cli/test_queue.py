"""What a run is said to wait for in Dagster's pools."""

import subprocess
import sys

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, JobFailureData
from dagster_shared.error import SerializableErrorInfo

from rft_pipeline.runs.dead_runs import HOST, PID, mark_failed, process_tags
from rft_pipeline.runs.execute import failures
from rft_pipeline.runs.queue import queued
from tests.assets.small import instance


@pytest.mark.usefixtures("tiny_campaign")
def test_a_step_that_waits_for_the_accelerator_names_the_stage_and_run_that_has_it() -> None:
    with instance() as running:
        storage = running.event_log_storage
        storage.initialize_concurrency_limit_to_default("accelerator")
        first, second = (running.create_run_for_job(_job(), tags=process_tags()).run_id for _ in range(2))
        assert storage.claim_concurrency_slot("accelerator", first, "other__round_1__rollouts").is_claimed
        assert queued(running, first) == {}
        assert not storage.claim_concurrency_slot("accelerator", second, "tiny__round_1__rollouts").is_claimed
        own = process_tags()
        holder = f"run {first[:8]} (process {own[PID]} on {own[HOST]})"
        assert queued(running, second) == {
            "tiny/round_1/rollouts": f"waiting for the accelerator: other/round_1/rollouts of {holder}"
        }
        assert not storage.claim_concurrency_slot("accelerator", first, "other__round_1__eval_reports").is_claimed
        assert queued(running, first) == {
            "other/round_1/eval_reports": "waiting for the accelerator: other/round_1/rollouts"
        }


def test_a_failed_run_whose_process_is_gone_gives_its_slot_back() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with instance() as running:
        storage = running.event_log_storage
        storage.initialize_concurrency_limit_to_default("accelerator")
        alive, dead = (running.create_run_for_job(_job(), tags=process_tags(pid)) for pid in (None, gone.pid))
        for run in (alive, dead):
            assert storage.claim_concurrency_slot("accelerator", run.run_id, "step").is_claimed
            running.report_run_failed(run)
            assert mark_failed(running) == []
            held = storage.get_concurrency_info("accelerator").claimed_slots
            assert bool(held) is (run is alive)
            storage.free_concurrency_slots_for_run(run.run_id)


def test_a_run_that_failed_before_any_step_did_says_why() -> None:
    error = SerializableErrorInfo(
        "In process 7: cannot import it\n\nStack Trace:\n  File …", [], "DagsterSubprocessError"
    )
    failed = DagsterEvent("PIPELINE_FAILURE", "nothing", event_specific_data=JobFailureData(error))
    assert failures([failed]) == ["In process 7: cannot import it"]


def _job() -> dg.JobDefinition:
    @dg.job
    def nothing() -> None: ...

    return nothing
