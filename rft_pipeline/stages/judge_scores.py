"""The stage `judge_scores`: one judgement a rollout and criterion."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import judge_inputs, with_prompts
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.judges.checklist import judges_items
from rft_pipeline.progress import judgements_of
from rft_pipeline.prompts.reading import content_hash
from rft_pipeline.stages.base import Node, Output, Sources, Stage, Upstream, start_node, what_judges_see
from rft_pipeline.stages.counting import FURTHER, Counting
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.replaying import count_replayed
from rft_pipeline.stages.rollouts import drawn_prompts, in_order_of_generations, taken_rollouts
from rft_pipeline.stages.rows_used import FindRecord, JudgedRows, judged_replies
from rft_pipeline.store import Record, RecordStore

if TYPE_CHECKING:
    from rft_pipeline.stages.round_made import RoundMade


class JudgeScores(Stage):
    """Judge every rollout of a round by every criterion."""

    name = "judge_scores"
    description = "One judgement a rollout and criterion; what failed is unscored, never a number."
    version = 3
    loads = frozenset({"judges"})
    appends = True
    in_generations = True
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
        prompts = _drawn_prompts(counting) if rollouts is None else None
        if how.replay is None and not any(judges_items(each.payload) for each in criteria):
            sampled = f"{how.prompts_per_round * how.group_size} rollouts"
            counting.work.made_up_of.append(
                f"{sampled} × {len(criteria)} {'criterion' if len(criteria) == 1 else 'criteria'}"
            )
        if rollouts is None and round_ is not None:
            done = None if prompts is None else prompts.head(round_.rollouts_judged // how.group_size)
            for criterion in criteria:
                every = counting.judgements_of(criterion, round_.rollouts, prompts)
                made = counting.judgements_of(criterion, round_.rollouts_judged, done)
                counting.work.add(judgements_of(criterion.name), every - made, made)
                more = counting.judgements_of(criterion, counting.refilled(), prompts)
                counting.work.may_add(judgements_of(criterion.name), more, FURTHER)
            count_taken(counting)
        elif rollouts is None:
            rows, missing = _stored_rollouts(counting, prompts)
            counting.judged(criteria, rows, missing, prompts)
        else:
            counting.judged(criteria, pl.read_parquet(rollouts.path("rollouts.parquet"), glob=False), 0)

    def judgements_in(self, record: Record, at: FindRecord) -> Iterator[JudgedRows]:
        rollouts = at(record.upstream["rollouts"])
        return judged_replies(record, None if rollouts is None else rollouts.path("rollouts.parquet"))


def _drawn_prompts(counting: Counting) -> pl.DataFrame | None:
    """The prompts of a round, in the order of its generations; None if they are not known."""
    campaign, round_, train = counting.campaign, counting.node.round, counting.prompts("train")
    if train is None:
        return None
    return in_order_of_generations(campaign, drawn_prompts(campaign, train, round_), round_)


def _stored_rollouts(counting: Counting, prompts: pl.DataFrame | None) -> tuple[pl.DataFrame | None, int]:
    """The rollouts of a round that exist without their record, and how many are missing: the first round's, after an
    edit of the prompts' columns."""
    campaign, how = counting.campaign, counting.campaign.rollouts
    first = counting.node.round == 1 and start_node(campaign) == "policy"
    policy = counting.sources.get("policy") if first else None
    if (replayed := count_replayed(campaign, counting.prompts("train"))) is not None:
        return None, replayed
    if prompts is None or policy is None:
        return None, how.prompts_per_round * how.group_size
    rows, missing = counting.stored(prompts, policy, how.group_size, how.sampling)
    return with_prompts(rows, prompts), missing


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
