"""The page with all replies of an eval report and of the rounds before it."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from rft_pipeline.evaluation.compare import RoundRows, in_order
from rft_pipeline.stages.job import Job
from rft_pipeline.store import RecordStore


def page_of_rounds(job: Job, report: Mapping[str, Any], found: Sequence[RoundRows]) -> str:
    """The page. A round whose reward batch is gone is left out."""
    from rft_pipeline.report.rounds_page import Criteria, render_rounds

    batches, records, rubric = {}, RecordStore(job.home.store), job.campaign.rubric
    for round_ in range(1, job.node.round + 1):
        batch = records.at(job.upstream[f"checkpoints_{round_}"].upstream["reward_batches"])
        if batch is not None:
            batches[round_] = pl.read_parquet(batch.path("reward_batches.parquet"), glob=False)
    weighted = [name for name, weight in rubric.weights().items() if weight > 0]
    criteria = Criteria(rubric.names, [each.name for each in rubric.judged], weighted)
    by_name = {each.name: each for each in found}
    compared = [by_name[row["name"]] for row in in_order(report)]
    baseline = report["rounds"][0]["name"]
    ids = dict(job.frame("prompts").select("prompt_id", "id").iter_rows())
    return render_rounds(compared, baseline, batches, criteria, job.title, job.campaign.description, ids)
