"""The Dagster definitions: all campaigns in the data folder."""

import dagster as dg

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.cycles import load_all
from rft_pipeline.errors import RftError
from rft_pipeline.stages.graph import code_versions, made_together, nodes
from rft_pipeline.store import Home, champions

from . import (
    checkpoints,
    eval_reports,
    judge_audit,
    judge_scores,
    labels,
    policy,
    promotion,
    prompts,
    reward_batches,
    rollouts,
    rubric,
    warm_start,
)
from .automation import campaign_schedules, changes_sensor
from .jobs import campaign_job
from .resources import StageRunner
from .stage import stage_asset
from .unreadable import unreadable

BINDINGS = {
    each.BINDING.stage: each.BINDING
    for each in (
        prompts,
        rubric,
        policy,
        warm_start,
        labels,
        judge_audit,
        rollouts,
        judge_scores,
        reward_batches,
        checkpoints,
        eval_reports,
        promotion,
    )
}
"""By stage. One without metadata or checks of its own needs none."""


def campaign_assets(campaign: Campaign) -> list[dg.AssetsDefinition]:
    """The unrolled graph of one campaign; an asset's code version covers the settings upstream."""
    steps = {together[0].key: together for node in nodes(campaign) if (together := made_together(campaign, node))}
    found = [stage_asset(campaign, together, BINDINGS) for together in steps.values()]
    named = code_versions(campaign, _champion(campaign))
    versions = {(campaign.name, *name.split("/")): code for name, code in named.items()}

    def versioned(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(code_version=versions[tuple(spec.key.path)])

    return [asset.map_asset_specs(versioned) for asset in found]


def _champion(campaign: Campaign) -> str | None:
    """The content hash of the champion that a campaign starts from, when the definitions are loaded.

    A server shows what a new champion makes stale once its definitions are reloaded; plans and runs read it themselves.
    """
    model = campaign.policy.model
    if not model.startswith(champions.PREFIX):
        return None
    found = champions.champion(Home.find().root, model.removeprefix(champions.PREFIX))
    return found.content_hash if found else None


def definitions(home: Home, executor: dg.ExecutorDefinition = dg.multi_or_in_process_executor) -> dg.Definitions:
    """Assets, a job, a sensor and the schedules of every campaign of a home. `executor` runs the steps of its jobs.

    Campaigns are loaded as written, without the newest cycle, so code versions are the same for all cycles: a server
    that was started in an earlier cycle agrees with a run's process. A cycle's prompts and policy show in the data
    versions. A campaign that cannot be read is a single asset with the error.
    """
    campaigns: list[Campaign] = []
    assets: list[dg.AssetsDefinition] = []
    for name, found in load_all(home).items():
        try:
            if isinstance(found, RftError):
                raise found
            assets += campaign_assets(found)
            campaigns.append(found)
        except RftError as error:
            assets.append(unreadable(name, error))
    return dg.Definitions(
        assets=assets,
        jobs=[campaign_job(campaign, executor) for campaign in campaigns],
        sensors=[changes_sensor(campaign) for campaign in campaigns],
        schedules=[schedule for campaign in campaigns for schedule in campaign_schedules(campaign)],
        resources={"stages": StageRunner()},
        executor=executor,
    )


defs = definitions(Home.find())


def job(name: str) -> dg.JobDefinition:
    """The job of one campaign, for processes that must find it by name."""
    return defs.resolve_job_def(name)
