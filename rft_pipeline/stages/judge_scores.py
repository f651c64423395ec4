"""The stage `judge_scores`: one judgement a rollout and criterion."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import judge_inputs
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.prompts.reading import content_hash
from rft_pipeline.stages.base import Node, Output, Sources, Stage, Upstream, what_judges_see
from rft_pipeline.stages.counting import Counting
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.rollouts import taken_rollouts
from rft_pipeline.stages.rows_used import FindRecord, JudgedRows, judged_replies
from rft_pipeline.store import Record, RecordStore

if TYPE_CHECKING:
    from rft_pipeline.stages.round_made import RoundMade


class JudgeScores(Stage):
    """Judge every rollout of a round by every criterion."""

    name = "judge_scores"
    description = "One judgement a rollout and criterion; what failed is unscored, never a number."
    version = 3
    loads_models = True
    appends = True
    in_generations = True
    spends = "judgements"
    counted = "judgements"

    def upstream(self, campaign: Campaign, round_: int) -> dict[str, str]:
        return {"rubric": "rubric", "prompts": "prompts", "rollouts": f"round_{round_}/rollouts"}

    def criteria(self, campaign: Campaign) -> tuple[Criterion, ...]:
        return campaign.rubric.criteria

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        return {"criteria": what_judges_see(campaign.rubric.criteria)}

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        judges = judge_inputs(campaign.rubric.criteria, sources)
        return {"rollouts": upstream["rollouts"].content_hash, **judges}

    def run(self, job: Job) -> Output:
        return scores_output(job, *job.judge(job.frame("rollouts")))

    def of_generations(self, job: Job, made: "RoundMade") -> Output:
        made.draw(job.workdir, "score_")
        return scores_output(job, made.scores, made.judged)

    def count(self, counting: Counting) -> None:
        how, rollouts = counting.campaign.rollouts, counting.known.get("rollouts")
        criteria, round_ = counting.campaign.rubric.single_criteria, counting.generations()
        if rollouts is None and round_ is not None:
            for criterion in criteria:
                made = round_.rollouts_made
                counting.work.add(f"judgements of {criterion.name}", round_.rollouts - made, made)
            count_taken(counting)
        elif rollouts is None:
            counting.judged(criteria, None, how.prompts_per_round * how.group_size)
        else:
            counting.judged(criteria, pl.read_parquet(rollouts.path("rollouts.parquet"), glob=False), 0)

    def judgements_in(self, record: Record, at: FindRecord) -> Iterator[JudgedRows]:
        rollouts = at(record.upstream["rollouts"])
        return judged_replies(record, None if rollouts is None else rollouts.path("rollouts.parquet"))


def count_taken(counting: Counting) -> None:
    """Count the judgements of the stored rollouts that an edit cycle takes."""
    rows = taken_rollouts(counting.campaign.continuation, RecordStore(counting.home.store))
    if rows is not None:
        counting.judged(counting.campaign.rubric.single_criteria, rows, 0)


def scores_output(job: Job, scores: pl.DataFrame, made: Mapping[str, int]) -> Output:
    """Write the judgements of a round; `made` counts those that were made now, by criterion."""
    job.write(scores)
    by_criterion = scores.group_by("criterion", maintain_order=True).agg(pl.col("score").mean())
    unscored = scores.filter(pl.col("status") != "scored").height
    failed = scores.filter(status="failed").height
    tokens, written, cost = (scores[name].sum() for name in ("tokens", "tokens_out", "cost"))
    return Output(
        content_hash=content_hash(scores.select("rollout_id", "criterion", "score")),
        rows={"judgements": scores.height, "unscored": unscored, "failed": failed, "made": sum(made.values())}
        | {f"made_{name}": count for name, count in made.items()},
        metrics={"unscored_share": unscored / scores.height}
        | {"tokens_read": float(tokens), "tokens_written": float(written or 0), "cost": float(cost or 0)}
        | {f"score_{name}": mean for name, mean in by_criterion.iter_rows() if mean is not None},
    )
