"""Checks that `audit.by_group` can measure and use the judges' noise."""

import polars as pl

from rft_pipeline.audit.rows import compares
from rft_pipeline.campaign import Campaign
from rft_pipeline.check.result import Findings
from rft_pipeline.judges import Scores

OF_FLIPS = " (one, where the judge says 0 or 1)"


def check_noise(campaign: Campaign, anchors: pl.DataFrame | None, people: pl.DataFrame, settings: Findings) -> None:
    """An error if the setting would have no effect; a warning for criteria without enough labels. `people` are the
    labels of people that measure the judges."""
    if campaign.audit is None or not campaign.audit.by_group:
        return
    where, least = f"{campaign.folder / 'campaign.yaml'}: audit.by_group", campaign.audit.min_prompts
    if not campaign.training.how.needs_differences:
        settings.errors.append(
            f"{where}: training.method {campaign.training.method} learns from references and people's labels and does "
            "not use groups; remove the setting, or choose another method"
        )
    single = [each.name for each in campaign.rubric.judged if not compares(each)]
    if not single:
        settings.errors.append(
            f"{where}: every judge compares the replies of a group, so no noise can be measured; "
            "remove the setting, or use a protocol that scores single replies"
        )
    if anchors is None or not single:
        return
    replies = _labelled(anchors, people)
    served = campaign.served_judges
    flips = {each.name: each.judge.scores(served) is Scores.ENDS for each in campaign.rubric.judged}
    prompts = {name: _prompts(replies, name, 1 if flips[name] else 2) for name in single}
    measured = f"is measured on prompts with two labelled replies or more{OF_FLIPS if any(flips.values()) else ''}"
    if max(prompts.values()) < least:
        name = max(prompts, key=lambda each: prompts[each])
        settings.errors.append(
            f"{where}: the noise of a judge {measured}, and no criterion has {least} of them (audit.min_prompts); "
            f"{name} has the most, {prompts[name]}; label more replies to the same prompts"
        )
        return
    for name in single:
        if prompts[name] < least:
            enough = "a labelled reply" if flips[name] else "two labelled replies or more"
            settings.warnings.append(
                f"{where}: {name} has {prompts[name]} prompts with {enough}, below audit.min_prompts {least}: its "
                "weight is not reduced until there are more labels"
            )


def _labelled(anchors: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """prompt_id and criterion of each labelled reply of the audit: anchors and rollouts."""
    names = [field.name for field in anchors.schema["labels"].fields]  # type: ignore[attr-defined]
    by_anchor = [
        anchors.filter(pl.col("labels").struct.field(name).is_not_null()).select(
            "prompt_id", pl.lit(name).alias("criterion")
        )
        for name in names
    ]
    by_person = people.unique(["rollout_id", "criterion"]).select("prompt_id", "criterion")
    return pl.concat([*by_anchor, by_person])


def _prompts(replies: pl.DataFrame, criterion: str, least: int) -> int:
    """Number of prompts with at least `least` labelled replies."""
    return replies.filter(criterion=criterion).group_by("prompt_id").len().filter(pl.col("len") >= least).height
