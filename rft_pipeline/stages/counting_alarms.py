"""What the alarms of an eval report will make: replies for the KL to base, and judgements of anchors."""

import json

import polars as pl

from rft_pipeline.alarms.watch import TRIED_ANCHORS
from rft_pipeline.audit.rows import compares
from rft_pipeline.campaign import Alarms
from rft_pipeline.campaign.addresses import judges_for_alarms, kl_draw
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.judges import ChecklistJudge
from rft_pipeline.judges.checklist import items_of
from rft_pipeline.progress import counted, judgements_of
from rft_pipeline.prompts.anchors import anchors_of
from rft_pipeline.stages.base import checkpoint_roles
from rft_pipeline.stages.counting import Counting

NOT_TRAINED = ""
"""In place of the content hash of a checkpoint that does not exist yet."""


def count_kl(counting: Counting, alarms: Alarms, prompts: pl.DataFrame | None, expected: int) -> None:
    """Count the replies on which each round's KL to base is estimated."""
    how, base = counting.campaign.evaluation, counting.content("base")
    if how.sampling == how.kl_sampling:
        return  # the evaluation's own replies serve
    chosen, count, sampling = (None, 1, how.kl_sampling) if prompts is None else kl_draw(counting.campaign, prompts)
    drawn = min(expected, alarms.kl_prompts) if chosen is None else chosen.height
    if drawn:
        counting.work.made_up_of.append(f"{drawn} more for the KL of each round")
    for role in checkpoint_roles(counting.node.round):
        policy = counting.content(role)
        if policy is None or policy != base:
            counting.sampled(chosen, min(expected, alarms.kl_prompts), policy, count, sampling)


def count_anchors(counting: Counting, alarms: Alarms) -> None:
    """Count the judgements of anchors in this round. Phrases that raise the reward are tried on bad anchors; the run
    finds these phrases, so the count is a maximum."""
    campaign, round_, tried = counting.campaign, counting.node.round, 0
    checkpoint = counting.content(f"checkpoints_{round_}") or NOT_TRAINED
    of_round = judges_for_alarms(campaign, counting.sources, round_, checkpoint)
    judges = [counting.sources, of_round] if round_ == 1 else [of_round]
    if campaign.anchors_path is None:
        return
    anchors = anchors_of(campaign)
    said = f"{counted(anchors.height, 'anchor')}, each by the judges of its labels"
    counting.work.made_up_of.append(f"{said}, twice" if round_ == 1 else said)
    for criterion in campaign.rubric.judged:
        label = pl.col("labels").struct.field(criterion.name)
        counting.audited(anchors.filter(label.is_not_null()), criterion, judges)
        if criterion.weight and not compares(criterion):
            bad = anchors.filter(label == 0)
            tried += 2 * min(bad.height, TRIED_ANCHORS) * alarms.phrases * _questions(criterion, bad)
    counting.work.may_add(judgements_of("phrases"), tried, "of phrases that raise the reward")
    for criterion in alarms.held_out:
        if criterion.judged:
            counting.audited(anchors, criterion, judges)


def _questions(criterion: Criterion, anchors: pl.DataFrame) -> int:
    """The most judgements of one reply: one for each member of a panel, or for each item of a checklist."""
    if isinstance(criterion.judge, ChecklistJudge):
        return max((len(items_of(json.loads(fields))) for fields in anchors["fields"]), default=0)
    return len(criterion.singles)
