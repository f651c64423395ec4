"""What an audit can measure of a judge, and the reasons why the rest is not measured."""

import polars as pl

from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.noise import Noise, noise
from rft_pipeline.audit.rows import compares
from rft_pipeline.audit.stability import Order
from rft_pipeline.audit.verdict import Power, Verdict
from rft_pipeline.campaign import Audit
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.judges import PanelJudge
from rft_pipeline.stats import Interval, Resamples


def noise_of(
    criterion: Criterion, labelled: Labelled, found: Verdict, resamples: Resamples, settings: Audit
) -> tuple[Noise | None, str]:
    """The judge's noise within a group, or why it was not measured; neither without `audit.by_group`."""
    if not settings.by_group:
        return None, ""
    if compares(criterion):
        return None, "its scores compare the replies of a group, so their error depends on the other replies"
    measured = noise(labelled, resamples)
    if measured is None:
        return None, "no prompt has two scored replies that people labelled"
    if found.power is Power.UNAUDITED:
        return None, "too few labels to conclude anything"
    if measured.prompts < settings.min_prompts:
        return None, f"only {measured.prompts} prompts can be used; audit.min_prompts is {settings.min_prompts}"
    return measured, ""


def why_not_measured(
    criterion: Criterion, judged: pl.DataFrame, order: Order | None, own: Interval | None
) -> dict[str, str]:
    """Retest, order and own family: what was not measured → why."""
    found = {}
    if isinstance(criterion.judge, PanelJudge):
        found["retest"] = "a panel repeats its scores if its members do; audit them as separate criteria"
    elif not judged["repeated"].any():
        found["retest"] = "no anchor was judged twice (audit.probed_anchors)"
    if criterion.judge.COMPARES_GROUP and order is None:
        found["order"] = "no judgement records the order in which its replies were shown"
    if judged["by"].null_count() == judged.height:
        found["own_family"] = "the anchors do not say which model wrote the replies (`by`)"
    elif own is None:
        found["own_family"] = "no label has replies of both the judge's family and others"
    return found


def is_deterministic(criterion: Criterion) -> bool:
    """Whether a judge reads its score from a forward pass, without sampling."""
    return criterion.judge.ENGINE in ("scorer", "rewarder")
