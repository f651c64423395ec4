"""The stage `eval_reports`: base and all rounds so far on held-out prompts, and the alarms of the newest round."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import polars as pl

from rft_pipeline.alarms.watch import ASKED, ASKED_FILE
from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import JudgementKey, judge_inputs, with_prompts
from rft_pipeline.campaign.continuation import START
from rft_pipeline.campaign.cycles import DRIFT
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.evaluation.classes import compare_classes, label_rules
from rft_pipeline.evaluation.compare import RoundRows, compare_rounds
from rft_pipeline.evaluation.kl import KL_FILE
from rft_pipeline.evaluation.themes import themes
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.estimates import estimated
from rft_pipeline.progress import counted
from rft_pipeline.rewards.batch import make_batch
from rft_pipeline.stages.base import (
    CHECKPOINT,
    OTHER,
    WARM_START,
    WARM_START_CALLED,
    MlflowRun,
    Node,
    Output,
    Sources,
    Stage,
    Upstream,
    audit_role,
    checkpoint_roles,
    compared_roles,
    content_read,
    policy_called,
    what_judges_see,
)
from rft_pipeline.stages.columns import columns_of, read_by
from rft_pipeline.stages.counting import Counting
from rft_pipeline.stages.counting_alarms import count_anchors, count_kl
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.round_alarms import kl_rows, watch, with_held_out
from rft_pipeline.stages.round_made import generations_of, refilled_in
from rft_pipeline.stages.round_pages import page_of_rounds
from rft_pipeline.stages.rows_used import FindRecord, JudgedRows, judged_replies, read_columns, short
from rft_pipeline.stats import plain
from rft_pipeline.store import Record

PAGE, ROUNDS, NUMBERS = "report.html", "rounds.html", "report.json"
ALARMS = 8
"""Raise it when the alarms' result for the same replies changes; reports without alarms stay valid."""
NO_ROUND = -1
"""The number, in the table of replies, of the policy that is neither a round nor the baseline."""


class EvalReports(Stage):
    """Compare base and all rounds on held-out prompts, and check the newest round for alarms."""

    name = "eval_reports"
    description = "Held-out reward of base and every round, by criterion, with intervals; the report page."
    version = 15
    loads = frozenset({"evaluation", "judges"})
    appends = True
    pages: ClassVar = {PAGE: ".html", ROUNDS: ".rounds.html", NUMBERS: ".json"}
    counted = "rollouts"

    def upstream(self, campaign: Campaign, round_: int) -> dict[str, str]:
        before = campaign.alarms is not None and round_ > 1
        return {
            "prompts": "prompts",
            "rubric": "rubric",
            **audit_role(campaign),
            **compared_roles(campaign),
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
            "thinking": campaign.policy.thinking,
            "seed": campaign.seed,
            **({"policy_called": START} if campaign.policy_called == START else {}),
        }

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        """The rounds' judge scores are read only together with people's labels."""
        read = content_read(upstream)
        if "labels" not in read:
            read = {role: content for role, content in read.items() if not role.startswith("judge_scores")}
        anchors = {} if campaign.alarms is None or "anchors" not in sources else {"anchors": sources["anchors"]}
        drift = {DRIFT: sources[DRIFT]} if node.round == 1 and DRIFT in sources else {}
        judges = judge_inputs(campaign.evaluated, sources)
        columns = columns_of(upstream["prompts"], "eval", read_by(campaign.evaluated))
        return {**read, "prompts": upstream["prompts"].parts["eval"], **columns, **anchors, **drift, **judges}

    def run(self, job: Job) -> Output:
        how, alarms = job.campaign.evaluation, job.campaign.alarms
        prompts = job.frame("prompts").filter(split="eval")
        roles = ["base", *checkpoint_roles(job.node.round)]
        shown = {role: number for number, role in enumerate(roles)}
        shown |= {OTHER: NO_ROUND} if OTHER in job.upstream else {}
        # all policies sample before a judge is loaded, so that one model at a time is in memory
        sampled = {role: job.sample(prompts, role, how.samples_per_prompt, how.sampling, how.runtime) for role in shown}
        kl, kl_made = kl_rows(job, prompts, roles)
        found, scores = _judged_rounds(job, shown, {role: rows for role, (rows, _) in sampled.items()})
        if alarms is not None:
            found = with_held_out(job, alarms, found)
        rounds = [found[role] for role in roles]
        judged = [criterion.name for criterion in job.campaign.rubric.judged]
        gates, seed = job.campaign.rubric.gates(), job.campaign.seed
        report = compare_rounds(rounds, judged, how.resamples, seed, gates, found.get(OTHER))
        report |= themes(job.campaign.rubric, list(found.values()), scores, how.resamples, seed) | _people(job)
        if rules := label_rules(job.campaign.evaluated):
            report["classes"] = compare_classes(list(found.values()), rules)
        if job.campaign.policy_called == START:
            report["start"] = job.upstream["base"].upstream[CHECKPOINT]
        for each in report["rounds"][1:]:
            each |= refilled_in(generations_of(job.upstream[f"checkpoints_{each['round']}"]))
        first = next((each for each in found.values() if each.called == WARM_START_CALLED), found["base"])
        watched = None if alarms is None else watch(job, alarms, rounds, first, kl)
        report |= {} if watched is None else {"alarms": watched.report}
        _write_report(job, report, {each.round: each.rows for each in rounds})
        (job.workdir / ROUNDS).write_text(page_of_rounds(job, report, list(found.values())), encoding="utf-8")
        job.write(pl.concat([each.rows.with_columns(pl.lit(each.round).alias("round")) for each in found.values()]))
        return Output(
            content_hash=fingerprint(report),
            rows={
                "prompts": prompts.height,
                "rollouts": sum(each.rows.height for each in found.values()),
                "made": sum(made for _, made in sampled.values()) + kl_made,
            },
            metrics=_metrics(report, {} if watched is None else watched.metrics),
            next_start=None if watched is None else watched.next_start,
        )

    def policy_node(self, record: Record) -> str:
        """The checkpoint that the next round starts from: the one that the alarms chose, else this round's."""
        round_ = int(record.key.split("/")[1].removeprefix("round_"))
        start = round_ if record.next_start is None else record.next_start
        return f"round_{start}/checkpoints" if start else _start_in(record)

    def count(self, counting: Counting) -> None:
        how, prompts = counting.campaign.evaluation, counting.prompts("eval")
        expected = counting.eval_prompts()
        sampled = [
            counting.sampled(prompts, expected, counting.content(role), how.samples_per_prompt, how.sampling)
            for role in (*compared_roles(counting.campaign), *checkpoint_roles(counting.node.round))
        ]
        counting.work.made_up_of.append(_sampled_in_words(counting, expected if prompts is None else prompts.height))
        found = [rows for rows, _ in sampled if rows is not None]
        rows = None if prompts is None or not found else with_prompts(pl.concat(found).unique("rollout_id"), prompts)
        counting.judged(counting.campaign.single_criteria, rows, sum(missing for _, missing in sampled), prompts)
        if counting.campaign.alarms is not None:
            count_kl(counting, counting.campaign.alarms, prompts, expected)
            count_anchors(counting, counting.campaign.alarms)

    def rollouts_in(self, record: Record) -> pl.DataFrame:
        held = read_columns(record.path("eval_reports.parquet"), ["rollout_id"])
        kl = record.folder / KL_FILE
        return pl.concat([held, read_columns(kl, ["rollout_id"])]).unique() if kl.is_file() else held

    def judgements_in(self, record: Record, at: FindRecord) -> Iterator[JudgedRows]:
        asked = record.folder / ASKED_FILE
        if asked.is_file():
            groups = read_columns(asked, ASKED.names()).group_by("criterion", "judge", maintain_order=True)
            for (criterion, judge), rows in groups:
                yield JudgedRows(JudgementKey(str(criterion), str(judge)), rows.select(short("subject")))
        yield from judged_replies(record, record.path("eval_reports.parquet"))

    def track(self, record: Record, run: MlflowRun) -> None:
        run.artifacts(record, PAGE, ROUNDS, NUMBERS)
        report = json.loads(record.path(NUMBERS).read_text(encoding="utf-8"))
        run.evaluated(record, _of_policy(report["rounds"][0], report))
        run.finish()


def _sampled_in_words(counting: Counting, prompts: int) -> str:
    """`20 held-out prompts × 2 policies (base, round 1)`."""
    nodes = (*compared_roles(counting.campaign).values(), *checkpoint_roles(counting.node.round).values())
    names = [policy_called(counting.campaign, each) or each.partition("/")[0].replace("_", " ") for each in nodes]
    each = counting.campaign.evaluation.samples_per_prompt
    more = f" × {each} replies" if each > 1 else ""
    return f"{counted(prompts, 'held-out prompt')} × {len(names)} policies ({', '.join(names)}){more}"


def _alarms(campaign: Campaign) -> dict[str, Any]:
    if campaign.alarms is None:
        return {}
    thresholds = {name: value for name, value in campaign.alarms.identity.items() if name != "held_out"}
    return {"alarms": {"version": ALARMS, **thresholds, "held_out": campaign.alarms.held_out_weights()}}


def _start_in(report: Record) -> str:
    """The node of the policy that round 1 of a report's campaign started from."""
    above = {address.split("/")[1] for address in report.upstream.values()}
    return WARM_START if WARM_START in above else "policy"


def _judged_rounds(
    job: Job, rounds: Mapping[str, int], rollouts: Mapping[str, pl.DataFrame]
) -> tuple[dict[str, RoundRows], pl.DataFrame]:
    """The rewards of each policy, from one pass over all their rollouts, and the judgements. `rounds` has the number of
    each role."""
    rubric, weights = job.campaign.rubric, job.weights()
    scores, _ = job.judge(pl.concat(rollouts.values()).unique("rollout_id", maintain_order=True))
    shown = pl.struct([pl.col("scores").struct.field(name) for name in rubric.names]).alias("scores")
    found = {}
    for role, round_ in rounds.items():
        record, rows = job.upstream[role], rollouts[role]
        here = scores.join(rows.select("rollout_id"), on="rollout_id", how="semi", maintain_order="left")
        batch = make_batch(rows, here, weights, rubric.gates(), job.campaign.reward)
        called = policy_called(job.campaign, record.payload["stage"])
        found[role] = RoundRows(round_, record.content_hash, batch.rows.with_columns(shown), called)
    return found, scores


def _people(job: Job) -> dict[str, Any]:
    """`people`: estimates from people's labels and judge scores, by criterion; nothing without labels."""
    labels = job.labels()
    if not labels.height:
        return {}
    judged = [job.frame(role) for role in job.upstream if role.startswith("judge_scores_")]
    found = estimated(job.campaign.name, job.campaign.rubric, labels, judged, job.home.store)
    return {"people": {name: plain(each) for name, each in found.items()}}


def _metrics(report: Mapping[str, Any], of_alarms: Mapping[str, float | None]) -> dict[str, float]:
    """The numbers of the newest round, without unknown ones, e.g. the bounds of a mean over one prompt."""
    newest = report["rounds"][-1]
    change = {
        "eval_delta": newest["delta"]["mean"],
        "eval_delta_lower95": newest["delta"]["lower95"],
        "eval_delta_upper95": newest["delta"]["upper95"],
    }
    return _of_policy(newest, report) | _known({**change, **of_alarms})


def _of_policy(policy: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one policy of a report, without unknown ones."""
    return _known(
        {
            "eval_reward": policy["reward"],
            "eval_reward_lower95": policy["lower95"],
            "eval_reward_upper95": policy["upper95"],
            "eval_length_mean": policy["length"]["mean"],
            "eval_thought_length_mean": policy["thought_length"]["mean"] or None,
            "eval_truncated_share": policy["truncated"],
            "eval_distinct2": policy["distinct2"],
            "eval_repetition": policy["repetition"],
            **{f"eval_{name}": values["mean"] for name, values in policy["criteria"].items()},
            **{f"eval_{name}_f1": of[policy["name"]]["f1"] for name, of in report.get("classes", {}).items()},
        }
    )


def _known(numbers: Mapping[str, float | None]) -> dict[str, float]:
    return {name: number for name, number in numbers.items() if number is not None}


def _write_report(job: Job, report: dict[str, Any], rows_by_round: dict[int, pl.DataFrame]) -> None:
    """Write report.json, the page, and its plots as pictures."""
    from rft_pipeline.report.alarm_plots import alarm_charts
    from rft_pipeline.report.page import render_page
    from rft_pipeline.report.plots import charts, to_png

    (job.workdir / NUMBERS).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    generations = generations_of(job.upstream[f"checkpoints_{job.node.round}"])
    kept = job.kept_weights()
    page = render_page(report, rows_by_round, job.title, job.campaign.description, generations, kept)
    (job.workdir / PAGE).write_text(page, encoding="utf-8")
    drawn = charts(report, rows_by_round) | (alarm_charts(report["alarms"]) if "alarms" in report else {})
    for name, chart in drawn.items():
        (job.workdir / f"{name}.png").write_bytes(to_png(chart))
