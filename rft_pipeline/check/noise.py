"""Whether the noise of the judges can be measured, and matters, where `audit.by_group` asks for it."""

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.check.result import Findings
from rft_pipeline.stages.audit_rows import compares


def check_noise(campaign: Campaign, anchors: pl.DataFrame | None, settings: Findings) -> None:
    """Refuse a setting that could do nothing; warn of criteria that it will not reach."""
    if campaign.audit is None or not campaign.audit.by_group:
        return
    where, least = f"{campaign.folder / 'campaign.yaml'}: audit.by_group", campaign.audit.min_prompts
    if campaign.training.method == "sft":
        settings.errors.append(
            f"{where}: training.method sft learns from references and people's labels, whatever the groups are worth; "
            "leave it out, or train by another method"
        )
    single = [each.name for each in campaign.rubric.judged if not compares(each)]
    if not single:
        settings.errors.append(
            f"{where}: every judge compares the replies of a group (pairwise, listwise), so that none has a noise of "
            "its own; leave it out, or ask by a protocol that scores one reply"
        )
    if anchors is None or not single:
        return
    prompts = {name: _prompts(anchors, name) for name in single}
    if max(prompts.values()) < least:
        name = max(prompts, key=lambda each: prompts[each])
        settings.errors.append(
            f"{where}: the noise of a judge is measured on prompts with two labelled anchors or more, and no criterion "
            f"has {least} of them (audit.min_prompts); the most are {prompts[name]}, of {name}; label more replies to "
            "the same prompts"
        )
        return
    for name, count in prompts.items():
        if count < least:
            settings.warnings.append(
                f"{where}: {name} has {count} prompts with two labelled anchors or more, below audit.min_prompts "
                f"{least}: it is not damped until people label more replies to the same prompts"
            )


def _prompts(anchors: pl.DataFrame, criterion: str) -> int:
    labelled = anchors.filter(pl.col("labels").struct.field(criterion).is_not_null())
    return labelled.group_by("prompt_id").len().filter(pl.col("len") > 1).height
