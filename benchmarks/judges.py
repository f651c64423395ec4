"""Judges: how far can each criterion's verdict be trusted, and would another wording have done better?

Every number is taken on the campaign's anchors. Anchors of one prompt resemble each other, so what an interval
resamples is the prompt.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import polars as pl
import typer
from pydantic import TypeAdapter, ValidationError
from rich.markup import escape
from rich.table import Table

from benchmarks.common import (
    BatchSize,
    CampaignName,
    DtypeName,
    Goal,
    ModelName,
    OneEngine,
    conclude,
    find_campaign,
    load_engine,
    machine,
    run,
    runtime_of,
    say,
)
from rft_pipeline.audit.agreement import Agreement, agreement
from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.campaign import Campaign, read_yaml
from rft_pipeline.campaign.addresses import as_rollout
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.cli import console
from rft_pipeline.engines import Scorer
from rft_pipeline.errors import ConfigError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.judges import (
    AnyJudge,
    BinaryJudge,
    ClozeJudge,
    ContrastJudge,
    Judge,
    PanelJudge,
    RelevanceJudge,
    RuleJudge,
    make_judge,
)
from rft_pipeline.prompts.anchors import read_anchors
from rft_pipeline.stats import Interval, Resamples
from rft_pipeline.strict import explain

CANDIDATES = Path(__file__).with_name("judge_candidates.yaml")
CHANCE = 0.5
"""AUC of a judge that tells nothing; a judged criterion's interval must lie above."""

Candidates = dict[str, tuple[AnyJudge, ...]]


class Audited(NamedTuple):
    """One criterion's judge against the labels."""

    criterion: Criterion
    agreement: Agreement


class Candidate(NamedTuple):
    """A judge that decides a criterion, or might."""

    criterion: str
    judge: AnyJudge
    auc: float | None
    """None when this model cannot serve the judge."""
    note: str


def judges(
    campaign_name: CampaignName = "support_reply",
    model: ModelName = "embedded",
    candidates: Annotated[Path, typer.Option(help="Judges to compare the rubric's with, by criterion.")] = CANDIDATES,
    batch_size: BatchSize = None,
    dtype: DtypeName = "bfloat16",
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples of prompts.")] = 1000,
) -> None:
    """Audit a campaign's criteria on its anchors, and list what other judges would reach."""
    campaign = find_campaign(campaign_name)
    if campaign.anchors_path is None:
        raise ConfigError(
            f"{campaign.folder / 'campaign.yaml'}: anchors: not set; without labels nothing can be audited"
        )
    alternatives = read_candidates(candidates, campaign)
    anchors = read_anchors(campaign.anchors_path, campaign.rubric)
    engine = load_engine(model, runtime_of(campaign, batch_size, dtype))
    audits = [audit(criterion, anchors, engine, resamples, campaign.seed) for criterion in campaign.rubric.criteria]
    compared = [
        try_candidate(criterion, judge, anchors, engine)
        for criterion, listed in alternatives.items()
        for judge in listed
    ]
    source = f"{campaign.name}: {anchors.height} anchors, {model}, {dtype}; {machine(engine)}"
    console.out.print(audit_table(audits, source))
    console.out.print(candidate_table(audits, compared))
    conclude([goal_of(found) for found in audits if found.criterion.judged])


def read_candidates(path: Path, campaign: Campaign) -> Candidates:
    """Raises `ConfigError` for a judge that cannot be used or a criterion the rubric lacks."""
    try:
        found = TypeAdapter(Candidates).validate_python(read_yaml(path))
    except ValidationError as error:
        raise ConfigError(explain(path, error)) from error
    if unknown := sorted(set(found) - set(campaign.rubric.names)):
        raise ConfigError(
            f"{path}: the rubric of {campaign.name} has no criterion {', '.join(unknown)}; "
            f"it has: {', '.join(campaign.rubric.names)}"
        )
    return found


def audit(criterion: Criterion, anchors: pl.DataFrame, engine: Scorer, resamples: int, seed: int) -> Audited:
    """A criterion's own judge on the anchors that are labelled for it."""
    say(f"judging the anchors: {criterion.name}")
    assert not isinstance(criterion.judge, PanelJudge)
    labelled = judged_anchors(criterion.name, make_judge(criterion.judge, OneEngine(engine)), anchors)
    drawn = Resamples.draw(labelled.prompt_N, resamples, seed_of(seed, "audit", criterion.name))
    return Audited(criterion, agreement(labelled, drawn))


def try_candidate(criterion: str, judge: AnyJudge, anchors: pl.DataFrame, engine: Scorer) -> Candidate:
    """A judge's AUC on the anchors labelled for a criterion, or why this model cannot serve it."""
    say(f"judging the anchors: {criterion} by {wording(judge)}")
    assert not isinstance(judge, PanelJudge)
    try:
        labelled = judged_anchors(criterion, make_judge(judge, OneEngine(engine)), anchors)
    except ConfigError as error:
        return Candidate(criterion, judge, None, str(error))
    return Candidate(criterion, judge, agreement(labelled, Resamples.draw(labelled.prompt_N, 0, 0)).auc.mean, "")


def judged_anchors(criterion: str, judge: Judge, anchors: pl.DataFrame) -> Labelled:
    """The scores of the anchors labelled for the criterion, with their labels."""
    labelled = anchors.with_columns(pl.col("labels").struct.field(criterion).alias("label")).drop_nulls("label")
    found = judge.score([as_rollout(row) for row in labelled.iter_rows(named=True)])
    judgements = sorted((pair for together in found for pair in together), key=lambda pair: pair[0])
    scores = pl.Series("score", [judgement.score for _, judgement in judgements], pl.Float64)
    return Labelled.of(labelled.select("prompt_id", "label", scores))


def audit_table(audits: Sequence[Audited], caption: str) -> Table:
    table = Table(title="Criteria on the anchors, with 95 % intervals over prompts", caption=caption)
    for column in ("criterion", "judge"):
        table.add_column(column)
    for column in ("good", "bad", "unscored", "AUC", "J at its best cut", "pairs within a prompt"):
        table.add_column(column, justify="right")
    for found in audits:
        measured = found.agreement
        intervals = (measured.auc, measured.at_cut.youden_j, measured.within_prompt)
        counts = (measured.good, measured.bad, measured.anchors - measured.good - measured.bad)
        table.add_row(
            found.criterion.name, found.criterion.judge.protocol, *map(str, counts), *map(shown_interval, intervals)
        )
    return table


def candidate_table(audits: Sequence[Audited], compared: Sequence[Candidate]) -> Table:
    """The rubric's judges (bold) among the candidates, best first."""
    table = Table(title="Judges that might decide a criterion; the rubric's in bold")
    table.add_column("criterion")
    table.add_column("AUC", justify="right")
    table.add_column("protocol")
    table.add_column("wording", overflow="fold")
    for found in audits:
        own = found.criterion.judge
        rivals = [candidate for candidate in compared if candidate.criterion == found.criterion.name]
        if isinstance(own, RuleJudge) and not rivals:
            continue
        rows = [(rival.auc, rival.judge.protocol, rival.note or wording(rival.judge), "") for rival in rivals]
        if not isinstance(own, RuleJudge):
            rows.append((found.agreement.auc.mean, own.protocol, wording(own), "bold"))
        rows.sort(key=lambda row: -1.0 if row[0] is None or np.isnan(row[0]) else row[0], reverse=True)
        for value, protocol, text, style in rows:
            number = "–" if value is None or np.isnan(value) else f"{value:.3f}"
            table.add_row(found.criterion.name, number, protocol, escape(text), style=style)
        table.add_section()
    return table


def goal_of(found: Audited) -> Goal:
    lower = found.agreement.auc.lower95
    return Goal(f"{found.criterion.name}: lower bound of the AUC", f"{lower:.3f}", f"> {CHANCE}", lower > CHANCE)


def wording(judge: AnyJudge) -> str:
    """A judge's texts on one line."""
    match judge:
        case ContrastJudge(positive=positive, negative=negative):
            return f"{positive} / {negative}"
        case RelevanceJudge(system=system):
            return system
        case ClozeJudge(templates=templates, positive=good, negative=bad):
            shown = " | ".join(template.replace("\n", " ⏎ ") for template in templates)
            return f"{shown} {', '.join(good)} / {', '.join(bad)}"
        case BinaryJudge(question=question):
            return question
        case _:
            return judge.protocol


def shown_interval(interval: Interval) -> str:
    if np.isnan(interval.mean):
        return "–"
    return f"{interval.mean:.2f} ({interval.lower95:.2f}–{interval.upper95:.2f})"


if __name__ == "__main__":
    run(judges)
