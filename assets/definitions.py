"""All campaigns below the data folder, as Dagster definitions."""

import dagster as dg

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.cycles import load_all
from rft_pipeline.errors import RftError
from rft_pipeline.stages.graph import code_versions, nodes
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


def campaign_assets(campaign: Campaign) -> list[dg.AssetsDefinition]:
    """The unrolled graph of one campaign; each asset has the version of the settings that its result depends on."""
    found = [stage_asset(campaign, node, BINDINGS[node.stage]) for node in nodes(campaign)]
    named = code_versions(campaign, _champion(campaign))
    versions = {(campaign.name, *name.split("/")): code for name, code in named.items()}

    def versioned(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(code_version=versions[tuple(spec.key.path)])

    return [asset.map_asset_specs(versioned) for asset in found]


def _champion(campaign: Campaign) -> str | None:
    """The content of the champion that a campaign starts from, at the time the definitions are loaded: a server shows
    what another one makes stale once its definitions are loaded again; plans and runs look for themselves."""
    model = campaign.policy.model
    if not model.startswith(champions.PREFIX):
        return None
    found = champions.champion(Home.find().root, model.removeprefix(champions.PREFIX))
    return found.content_hash if found else None


def _assets_or_error(campaign: Campaign) -> list[dg.AssetsDefinition] | RftError:
    try:
        return campaign_assets(campaign)
    except RftError as error:
        return error


def definitions(home: Home) -> dg.Definitions:
    """Assets, a job, a sensor and perhaps schedules for every campaign of a home.

    Campaigns are taken as written, without the newest cycle: its prompts and policy show in the data versions, and code
    versions that hold for all cycles agree between a server that has long been running and a run's own process.
    A campaign that cannot be read is a single asset that says why.
    """
    campaigns: list[Campaign] = []
    assets: list[dg.AssetsDefinition] = []
    for name, found in load_all(home).items():
        made = found if isinstance(found, RftError) else _assets_or_error(found)
        if isinstance(found, Campaign) and not isinstance(made, RftError):
            campaigns.append(found)
            assets += made
        elif isinstance(made, RftError):
            assets.append(unreadable(name, made))
    return dg.Definitions(
        assets=assets,
        jobs=[campaign_job(campaign) for campaign in campaigns],
        sensors=[changes_sensor(campaign) for campaign in campaigns],
        schedules=[schedule for campaign in campaigns for schedule in campaign_schedules(campaign)],
        resources={"stages": StageRunner()},
        executor=dg.multi_or_in_process_executor,
    )


defs = definitions(Home.find())


def job(name: str) -> dg.JobDefinition:
    """The job of one campaign, for those who rebuild it in another process."""
    return defs.resolve_job_def(name)
