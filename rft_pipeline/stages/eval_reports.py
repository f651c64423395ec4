"""The stage `eval_reports`: base and every round so far on held-out prompts, and what the alarms say of the round."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from rft_pipeline.alarms.watch import ASKED, ASKED_FILE
from rft_pipeline.audit.rows import compares
from rft_pipeline.campaign import Alarms, Campaign
from rft_pipeline.campaign.addresses import JudgementKey, judge_inputs, judges_for_alarms, kl_draw, with_prompts
from rft_pipeline.campaign.cycles import DRIFT
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.evaluation.compare import RoundRows, compare_rounds
from rft_pipeline.evaluation.kl import KL_FILE
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.estimates import estimated
from rft_pipeline.prompts.reading import read_anchors
from rft_pipeline.rewards.batch import make_batch
from rft_pipeline.stages.base import (
    MlflowRun,
    Node,
    Output,
    Sources,
    Stage,
    Upstream,
    audit_role,
    checkpoint_roles,
    content_read,
    what_judges_see,
)
from rft_pipeline.stages.counting import Counting
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.round_alarms import kl_rows, watch
from rft_pipeline.stages.rows_used import FindRecord, JudgedRows, judged_replies, read_columns
from rft_pipeline.store import Record

PAGE, NUMBERS = "report.html", "report.json"
ALARMS = 4
"""Grows when the alarms say another thing of the same replies; reports without alarms stay as they are."""
UNKNOWN = ""
"""The content of a checkpoint that is still to be trained: nothing was asked about it."""


class EvalReports(Stage):
    """Compare base and all rounds on prompts that were never trained on, and weigh the newest round's alarms."""

    name = "eval_reports"
    version = 7
    appends = True
    page = (PAGE, ".html")
    counted = "rollouts"

    def upstream(self, campaign: Campaign, round_: int) -> dict[str, str]:
        before = campaign.alarms is not None and round_ > 1
        return {
            "prompts": "prompts",
            "rubric": "rubric",
            **audit_role(campaign),
            "base": "policy",
            **checkpoint_roles(round_),
            **({"before": f"round_{round_ - 1}/eval_reports"} if before else {}),
            "labels": "labels",
            **{f"judge_scores_{each}": f"round_{each}/judge_scores" for each in range(1, round_ + 1)},
        }

    def criteria(self, campaign: Campaign) -> tuple[Criterion, ...]:
        return campaign.evaluated

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        return {
            **campaign.evaluation.identity,
            "weights": campaign.rubric.weights(),
            "gates": campaign.rubric.gates(),
            **_alarms(campaign),
            "criteria": what_judges_see(campaign.evaluated),
            "shown_in_order": campaign.rubric.names,
            "system": campaign.policy.system,
            "system_in": campaign.policy.system_in,
            "seed": campaign.seed,
        }

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        """What was judged of the rounds counts only where people's labels of it do."""
        read = content_read(upstream)
        if "labels" not in read:
            read = {role: content for role, content in read.items() if not role.startswith("judge_scores")}
        anchors = {} if campaign.alarms is None or "anchors" not in sources else {"anchors": sources["anchors"]}
        drift = {DRIFT: sources[DRIFT]} if node.round == 1 and DRIFT in sources else {}
        judges = judge_inputs(campaign.evaluated, sources)
        return {**read, "prompts": upstream["prompts"].parts["eval"], **anchors, **drift, **judges}

    def run(self, job: Job) -> Output:
        how, rubric = job.campaign.evaluation, job.campaign.rubric
        prompts = job.frame("prompts").filter(split="eval")
        roles = ["base", *(f"checkpoints_{round_}" for round_ in range(1, job.node.round + 1))]
        # all are sampled before a judge is loaded: one model at a time is in memory
        drawn = [job.sample(prompts, role, how.samples_per_prompt, how.sampling, how.runtime) for role in roles]
        made = sum(sampled for _, sampled in drawn)
        alarms = job.campaign.alarms
        kl, drawn_for_kl = kl_rows(job, prompts, roles)
        scores, _ = job.judge(pl.concat([rows for rows, _ in drawn]).unique("rollout_id", maintain_order=True))
        weights = job.weights()
        shown = pl.struct([pl.col("scores").struct.field(name) for name in rubric.names]).alias("scores")
        rounds = []
        for round_, (role, (rows, _)) in enumerate(zip(roles, drawn, strict=True)):
            here = scores.join(rows.select("rollout_id"), on="rollout_id", how="semi", maintain_order="left")
            batch = make_batch(rows, here, weights, rubric.gates(), job.campaign.reward)
            rounds.append(RoundRows(round_, job.upstream[role].content_hash, batch.rows.with_columns(shown)))
        judged = [criterion.name for criterion in rubric.judged]
        report = compare_rounds(rounds, judged, how.resamples, job.campaign.seed, rubric.gates())
        labels = job.labels()
        if labels.height:
            judged_by_models = [job.frame(role) for role in job.upstream if role.startswith("judge_scores_")]
            people = estimated(job.campaign.name, rubric, labels, judged_by_models, job.home.store)
            report["people"] = {name: each.as_plain() for name, each in people.items()}
        watched: dict[str, float | None] = {}
        next_start = None
        if alarms is not None:
            found = watch(job, alarms, rounds, kl)
            rounds, watched, report["alarms"] = found.rounds, found.metrics, found.report
            next_start = found.next_start
        _write_report(job, report, {each.round: each.rows for each in rounds})
        job.write(pl.concat([each.rows.with_columns(pl.lit(each.round).alias("round")) for each in rounds]))
        newest = report["rounds"][-1]
        return Output(
            content_hash=fingerprint(report),
            rows={
                "prompts": prompts.height,
                "rollouts": sum(each.rows.height for each in rounds),
                "made": made + drawn_for_kl,
            },
            metrics=_known(
                {
                    "eval_reward": newest["reward"],
                    "eval_reward_lower95": newest["lower95"],
                    "eval_reward_upper95": newest["upper95"],
                    "eval_delta": newest["delta"]["mean"],
                    "eval_delta_lower95": newest["delta"]["lower95"],
                    "eval_delta_upper95": newest["delta"]["upper95"],
                    "eval_length_mean": newest["length"]["mean"],
                    "eval_truncated_share": newest["truncated"],
                    "eval_distinct2": newest["distinct2"],
                    "eval_repetition": newest["repetition"],
                }
                | {f"eval_{name}": values["mean"] for name, values in newest["criteria"].items()}
                | watched
            ),
            next_start=next_start,
        )

    def policy_node(self, record: Record) -> str:
        """With alarms the report names the round to go on from; its own without."""
        round_ = int(record.key.split("/")[1].removeprefix("round_"))
        start = round_ if record.next_start is None else record.next_start
        return f"round_{start}/checkpoints" if start else "policy"

    def count(self, counting: Counting) -> None:
        how, prompts = counting.campaign.evaluation, counting.prompts("eval")
        expected = counting.eval_prompts()
        there: list[pl.DataFrame] = []
        missing = 0
        for role in ("base", *checkpoint_roles(counting.node.round)):
            missing += counting.sampled(
                prompts, expected, counting.content(role), how.samples_per_prompt, how.sampling, there
            )
        rows = None if prompts is None or not there else with_prompts(pl.concat(there).unique("rollout_id"), prompts)
        counting.judged(counting.campaign.single_criteria, rows, missing)
        if counting.campaign.alarms is not None:
            _count_kl(counting, counting.campaign.alarms, prompts, expected)
            _count_anchors(counting, counting.campaign.alarms)

    def rollouts_in(self, record: Record) -> pl.DataFrame:
        held = read_columns(record.path("eval_reports.parquet"), ["rollout_id"])
        kl = record.folder / KL_FILE
        return pl.concat([held, read_columns(kl, ["rollout_id"])]).unique() if kl.is_file() else held

    def judgements_in(self, record: Record, at: FindRecord) -> Iterator[JudgedRows]:
        asked = record.folder / ASKED_FILE
        if asked.is_file():
            groups = read_columns(asked, ASKED.names()).group_by("criterion", "judge", maintain_order=True)
            for (criterion, judge), rows in groups:
                yield JudgedRows(JudgementKey(str(criterion), str(judge)), rows.select("subject"))
        yield from judged_replies(record, record.path("eval_reports.parquet"))

    def track(self, record: Record, run: MlflowRun) -> None:
        run.artifacts(record, PAGE, NUMBERS)
        run.finish()


def _alarms(campaign: Campaign) -> dict[str, Any]:
    if campaign.alarms is None:
        return {}
    thresholds = {name: value for name, value in campaign.alarms.identity.items() if name != "held_out"}
    return {"alarms": {"version": ALARMS, **thresholds, "held_out": campaign.alarms.held_out_weights()}}


def _count_kl(counting: Counting, alarms: Alarms, prompts: pl.DataFrame | None, expected: int) -> None:
    """The replies that each round's KL to base is estimated on."""
    how, base = counting.campaign.evaluation, counting.content("base")
    if how.sampling == how.kl_sampling:
        return  # the evaluation's own replies
    chosen, count, sampling = (None, 1, how.kl_sampling) if prompts is None else kl_draw(counting.campaign, prompts)
    for role in checkpoint_roles(counting.node.round):
        policy = counting.content(role)
        if policy is None or policy != base:
            counting.sampled(chosen, min(expected, alarms.kl_prompts), policy, count, sampling)


def _count_anchors(counting: Counting, alarms: Alarms) -> None:
    """What the alarms ask about the anchors in this round. Phrases that turn out to pay are tried on bad anchors; how
    many there are is known only then."""
    campaign, round_ = counting.campaign, counting.node.round
    anew = judges_for_alarms(campaign, counting.sources, round_, counting.content(f"checkpoints_{round_}") or UNKNOWN)
    judges = [counting.sources, anew] if round_ == 1 else [anew]
    if campaign.anchors_path is None:
        return
    anchors = read_anchors(campaign.anchors_path, campaign.rubric)
    for criterion in campaign.rubric.judged:
        label = pl.col("labels").struct.field(criterion.name)
        counting.asked_about(anchors.filter(label.is_not_null()), criterion, judges)
        if criterion.weight and not compares(criterion):
            bad = min(anchors.filter(label == 0).height, alarms.tried_anchors)
            counting.work.later += 2 * bad * alarms.phrases * max(1, len(criterion.members))
    for criterion in alarms.held_out:
        if criterion.judged:
            counting.asked_about(anchors, criterion, judges)


def _known(numbers: Mapping[str, float | None]) -> dict[str, float]:
    """Without those nobody can know, e.g. the bounds of a mean over one prompt."""
    return {name: number for name, number in numbers.items() if number is not None}


def _write_report(job: Job, report: dict[str, Any], rows_by_round: dict[int, pl.DataFrame]) -> None:
    """report.json, the page, and its plots as pictures."""
    from rft_pipeline.report.alarm_plots import alarm_charts
    from rft_pipeline.report.page import render_page
    from rft_pipeline.report.plots import charts, to_png

    (job.workdir / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    page = render_page(report, rows_by_round, job.title, job.campaign.description)
    (job.workdir / "report.html").write_text(page, encoding="utf-8")
    drawn = charts(report, rows_by_round) | (alarm_charts(report["alarms"]) if "alarms" in report else {})
    for name, chart in drawn.items():
        (job.workdir / f"{name}.png").write_bytes(to_png(chart))
