"""Judges: how far can each criterion's verdict be trusted, and would another wording have done better?

Every number is taken on the campaign's anchors. Anchors of one prompt resemble each other, so what an interval
resamples is the prompt.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import polars as pl
import typer
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
from rft_pipeline.audit.rows import audit_rows, rows_to_judge
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.cli import console
from rft_pipeline.engines import Scorer
from rft_pipeline.errors import ConfigError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.judges import RuleJudge
from rft_pipeline.progress import Progress
from rft_pipeline.prompts.anchors import anchors_of
from rft_pipeline.stages.judging import judging
from rft_pipeline.stats import Interval, Resamples
from rft_pipeline.store import judgements_table
from rft_pipeline.suggest.candidates import Candidate, read_candidates
from rft_pipeline.suggest.measuring import JudgeRows, Tried, by_auc, try_judge

CANDIDATES = Path(__file__).with_name("judge_candidates.yaml")
CHANCE = 0.5
"""AUC of a judge that tells nothing; a judged criterion's interval must lie above."""


class Audited(NamedTuple):
    """One criterion's judge against the labels."""

    criterion: Criterion
    agreement: Agreement


def judges(
    campaign_name: CampaignName = "support_reply",
    model: ModelName = "embedded",
    candidates: Annotated[Path, typer.Option(help="Judges to compare the rubric's with, by criterion.")] = CANDIDATES,
    batch_size: BatchSize = None,
    dtype: DtypeName = "auto",
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples of prompts.")] = 1000,
) -> None:
    """Audit a campaign's criteria on its anchors, and list what other judges would reach."""
    campaign = find_campaign(campaign_name)
    if campaign.anchors_path is None:
        raise ConfigError(
            f"{campaign.folder / 'campaign.yaml'}: anchors: not set; without labels nothing can be audited"
        )
    alternatives = read_candidates(candidates, campaign)
    anchors = anchors_of(campaign)
    runtime = runtime_of(campaign, batch_size, dtype)
    engine = load_engine(model, runtime)
    labelled = audit_rows(anchors, 0, campaign.seed)
    audits, compared = [], {}
    with tempfile.TemporaryDirectory() as store:
        judge_rows = judging_with(engine, Path(store))
        for criterion in campaign.rubric.criteria:
            say(f"judging the anchors: {criterion.name}")
            rows = rows_to_judge(labelled, criterion)
            own = try_judge(criterion.name, Candidate({}, criterion.judge), rows, judge_rows)
            rivals = alternatives.get(criterion.name, [])
            audits.append(audit(criterion, own, resamples, campaign.seed))
            compared[criterion.name] = [own, *(try_judge(criterion.name, each, rows, judge_rows) for each in rivals)]
    source = f"{campaign.name}: {anchors.height} anchors, {model}, {runtime.dtype}; {machine(engine)}"
    console.out.print(audit_table(audits, source))
    console.out.print(candidate_table(compared))
    conclude([goal_of(found) for found in audits if found.criterion.judged])


def judging_with(engine: Scorer, store: Path) -> JudgeRows:
    """Judges with one engine, which keeps its judgements in `store`."""

    def judge_rows(rows: pl.DataFrame, criterion: Criterion) -> pl.DataFrame:
        with judging(rows, [criterion], {}, judgements_table(store), OneEngine(engine), Progress("judges")) as judged:
            return judged()[0]

    return judge_rows


def audit(criterion: Criterion, own: Tried, resamples: int, seed: int) -> Audited:
    """A criterion's own judge on the anchors that are labelled for it. Raises `ConfigError` if it cannot judge."""
    if own.labelled is None:
        raise ConfigError(f"{criterion.name}: {own.note}")
    drawn = Resamples.draw(own.labelled.prompt_N, resamples, seed_of(seed, "audit", criterion.name))
    return Audited(criterion, agreement(own.labelled, drawn))


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


def candidate_table(compared: Mapping[str, Sequence[Tried]]) -> Table:
    """The rubric's judges (bold, the first of each criterion) among the candidates, best first."""
    table = Table(title="Judges that might decide a criterion; the rubric's in bold")
    table.add_column("criterion")
    table.add_column("AUC", justify="right")
    table.add_column("protocol")
    table.add_column("wording", overflow="fold")
    for name, tried in compared.items():
        if len(tried) == 1 and isinstance(tried[0].candidate.judge, RuleJudge):
            continue
        for each in sorted(tried, key=by_auc, reverse=True):
            judge, number = each.candidate.judge, "–" if np.isnan(each.auc) else f"{each.auc:.3f}"
            style = "bold" if each is tried[0] else ""
            table.add_row(name, number, judge.protocol, escape(each.note or judge.wording), style=style)
        table.add_section()
    return table


def goal_of(found: Audited) -> Goal:
    lower = found.agreement.auc.lower95
    return Goal(f"{found.criterion.name}: lower bound of the AUC", f"{lower:.3f}", f"> {CHANCE}", lower > CHANCE)


def shown_interval(interval: Interval) -> str:
    if np.isnan(interval.mean):
        return "–"
    return f"{interval.mean:.2f} ({interval.lower95:.2f}–{interval.upper95:.2f})"


if __name__ == "__main__":
    run(judges)
