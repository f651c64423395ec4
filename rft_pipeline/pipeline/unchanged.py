"""A stage must read what its record is made from: sources that change in between are refused."""

from rft_pipeline.errors import DataError, StoreError
from rft_pipeline.pipeline.sources import source_hashes, where_from
from rft_pipeline.stages.base import CHECKPOINT
from rft_pipeline.stages.graph import payload
from rft_pipeline.stages.job import Job
from rft_pipeline.store import Record

_POLICY = "policy"
"""The source whose weights a stage loads through an upstream record, and the name of the stage that made it."""


def refuse_other_weights(job: Job) -> None:
    """Raises `StoreError` when the policy's folder no longer holds the weights of its record."""
    record = _policy_in_a_folder(job)
    if record is not None and job.sources[_POLICY] != record.content_hash:
        raise StoreError(
            f"{job.node.key}: policy.model {job.campaign.policy.model} holds other weights than when "
            f"{record.key} was made; run {record.key} first"
        )


def refuse_changed_sources(job: Job) -> None:
    """Raises `DataError` when a source of the record, or the folder of the policy, changed since the stage began.

    Call before the record is committed.
    """
    now = source_hashes(job.campaign, job.home, fetch=True)
    changed = [name for name in sorted({*now, *job.sources}) if now.get(name) != job.sources.get(name)]
    if used := [where_from(job.campaign, name) for name in changed if _is_used(job, name, now)]:
        raise DataError(
            f"{job.node.key}: {', '.join(used)} changed while the stage ran, so its result is dropped; rows that were "
            "sampled or judged are kept. Run it again"
        )


def _policy_in_a_folder(job: Job) -> Record | None:
    """The upstream record of a policy whose weights are in a folder, not in the store."""
    records = (each for each in job.upstream.values() if each.payload["stage"] == _POLICY)
    return next((each for each in records if CHECKPOINT not in each.upstream), None)


def _is_used(job: Job, name: str, now: dict[str, str]) -> bool:
    """Whether the stage loaded this source, or its fingerprint changes with it."""
    if name == _POLICY and _policy_in_a_folder(job) is not None:
        return True
    mixed = {**job.sources, name: now.get(name, "")}
    if name not in now:
        del mixed[name]
    try:
        return payload(job.campaign, job.node, job.upstream, mixed) != job.made_from
    except KeyError:  # the source is gone
        return True
