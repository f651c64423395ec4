"""A campaign run by Dagster in this process, on an instance that lies in the campaign's home."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from rft_pipeline.campaign import load_campaign
from rft_pipeline.runs import dagster_home
from rft_pipeline.store import Home, RecordStore


def instance() -> dg.DagsterInstance:
    """The instance of the current home."""
    home = Home.find()
    dagster_home.prepare(home)
    return dg.DagsterInstance.from_config(str(home.dagster))


def materialize(folder: Path, keys: Sequence[str] | None = None) -> dg.ExecuteInProcessResult:
    """Materialize a campaign, or those of its assets; a failing step fails the result and raises nothing."""
    from assets.definitions import campaign_assets
    from assets.resources import StageRunner

    with instance() as running:
        return dg.materialize(
            campaign_assets(load_campaign(folder)),
            instance=running,
            resources={"stages": StageRunner()},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            selection=None if keys is None else [dg.AssetKey(key.split("/")) for key in keys],
            raise_on_error=False,
        )


def left_behind() -> list[str]:
    """What a run that ended may not leave in the home: locks, claims on a pool, half records, progress files."""
    home = Home.find()
    found = [str(path) for name in (".making-*", ".holder.json") for path in home.store.rglob(name)]
    found += [str(path) for path in home.progress.glob("*")]
    keys = {str(lock.parent.relative_to(home.store)) for lock in home.store.rglob(".lock")}
    with RecordStore(home.store).holding_idle(keys) as busy:
        found += busy
    with instance() as running:
        storage = running.event_log_storage
        for pool in storage.get_concurrency_keys():
            info = storage.get_concurrency_info(pool)
            found += [step.step_key for step in (*info.claimed_slots, *info.pending_steps)]
    return found
