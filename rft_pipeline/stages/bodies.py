"""What each stage does with its upstream records: read them, call the stage's function, write its files."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from statistics import fmean
from typing import Any

import polars as pl

from rft_pipeline import models
from rft_pipeline.campaign.addresses import choose_prompts
from rft_pipeline.errors import GateError, without_secrets
from rft_pipeline.evaluation.compare import RoundRows, compare_rounds
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.estimates import estimated
from rft_pipeline.labels.table import content_of, labels_of, left_out
from rft_pipeline.prompts.reading import content_hash, read_prompts
from rft_pipeline.rewards.batch import make_batch
from rft_pipeline.rewards.group_noise import count_damped
from rft_pipeline.rules.words import words
from rft_pipeline.stages.checkpoints import train_checkpoint
from rft_pipeline.stages.job import Job, Output
from rft_pipeline.stages.judge_audit import judge_audit
from rft_pipeline.stages.payloads import criteria
from rft_pipeline.stages.promotion import promotion
from rft_pipeline.stages.round_alarms import kl_rows, watch
from rft_pipeline.store import champions


def _prompts(job: Job) -> Output:
    read = read_prompts(job.campaign)
    job.write(read.rows)
    splits = {split: read.rows.filter(split=split) for split in ("train", "eval")}
    return Output(
        content_hash=content_hash(read.rows),
        parts={split: content_hash(rows) for split, rows in splits.items()},
        rows={split: rows.height for split, rows in splits.items()} | {"merged": read.merged},
    )


def _rubric(job: Job) -> Output:
    identity = job.campaign.rubric.identity
    (job.workdir / "rubric.json").write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")
    judged = criteria(job.campaign.rubric.criteria)
    return Output(content_hash=fingerprint(judged), rows={"criteria": len(judged)})


def _policy(job: Job) -> Output:
    policy = job.campaign.policy
    upstream = {}
    if policy.model.startswith(champions.PREFIX):
        champion = models.champion_of(policy.model, job.home.models)
        content, upstream = champion.content_hash, {"champion": champion.record}
    else:
        content = models.identify(policy.model, job.home.models, job.campaign.folder)
    where = (
        f"server {without_secrets(policy.server.url)}"
        if policy.server is not None
        else models.resolve(policy.model, job.home.models, job.campaign.folder).source
    )
    described = {"name": policy.model, "content_hash": content, "source": where}
    (job.workdir / "policy.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return Output(content_hash=content, upstream=upstream)


def _labels(job: Job) -> Output:
    labels, others = labels_of(job.campaign, job.home.store), left_out(job.campaign, job.home.store)
    job.write(labels)
    if others:
        told = json.dumps([asdict(each) for each in others], indent=2, ensure_ascii=False)
        (job.workdir / "left_out.json").write_text(told + "\n", encoding="utf-8")
    people, subjects = labels["annotator"].n_unique(), labels["rollout_id"].n_unique()
    return Output(
        content_hash=content_of(labels),
        rows={"labels": labels.height, "rollouts": subjects, "annotators": people}
        | ({"left_out": sum(each.labels for each in others)} if others else {}),
    )


def _rollouts(job: Job) -> Output:
    how = job.campaign.rollouts
    train = job.frame("prompts").filter(split="train")
    chosen = choose_prompts(train, how.prompts_per_round, job.campaign.seed, job.node.round)
    rows, made = job.sample(chosen, "policy", how.group_size, how.sampling, how.runtime)
    job.write(rows)
    return Output(
        content_hash=content_hash(rows.select("rollout_id", _said(job), "finish_reason", "messages", "fields")),
        rows={"prompts": chosen.height, "rollouts": rows.height, "made": made},
        metrics={
            **_lengths(job, rows),
            "truncated_share": rows.filter(finish_reason="length").height / rows.height,
        },
    )


def _said(job: Job) -> str:
    """The column that holds what the policy said: a served one tells no tokens."""
    return "completion" if job.campaign.policy.is_served else "tokens"


def _lengths(job: Job, rows: pl.DataFrame) -> dict[str, float]:
    """The mean length in tokens, or in words where tokens are not told."""
    if job.campaign.policy.is_served:
        return {"length_words_mean": fmean(len(words(text)) for text in rows["completion"])}
    return {"length_mean": float(rows.select(pl.col("tokens").list.len().cast(pl.Float64).mean()).item())}


def _judge_scores(job: Job) -> Output:
    scores, made = job.judge(job.frame("rollouts"))
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


def _reward_batches(job: Job) -> Output:
    rubric = job.campaign.rubric
    batch = make_batch(
        job.frame("rollouts"),
        job.frame("judge_scores"),
        job.weights(),
        rubric.gates(),
        job.campaign.reward,
        job.labels(),
        job.noise(),
    )
    job.write(batch.rows)
    excluded = batch.rows.filter(pl.col("excluded").is_not_null()).height
    reward = batch.rows["reward"].mean()
    choices = batch.rows.select("rollout_id", "reward", "finish_reason", "fields", "labelled")
    said = batch.rows.filter(pl.col("labelled").list.len() > 0)
    damped = count_damped(batch.rows)
    return Output(
        content_hash=content_hash(batch.rows.select("rollout_id", _said(job), "advantage", "excluded")),
        parts={"choices": content_hash(choices)}
        | ({"people": content_hash(said.select("rollout_id", "scores", "gated", "labelled"))} if said.height else {}),
        rows={
            "rollouts": batch.rows.height,
            "excluded": excluded,
            "gated": batch.rows.filter("gated").height,
            "labelled": said.height,
            "groups": batch.groups,
            "groups_used": batch.groups_used,
        }
        | damped.rows,
        metrics={"groups_used_share": batch.groups_used / batch.groups}
        | ({"reward_mean": float(reward)} if isinstance(reward, float) else {})
        | damped.metrics,
    )


def _checkpoints(job: Job) -> Output:
    start, base = job.policy_folder("policy"), job.policy_folder("base")
    batch = job.upstream["reward_batches"]
    share, least = batch.metrics["groups_used_share"], job.campaign.reward.min_group_share
    if share < least and job.campaign.training.needs_differences:
        lost = batch.rows.get("groups_within_noise", 0)
        noisy = f" ({lost} lie within the judge's noise, audit.by_group)" if lost else ""
        raise GateError(
            f"{batch.key}: {batch.rows['groups_used']} of {batch.rows['groups']} groups can teach anything{noisy}, a "
            f"share of {share:.2f}; reward.min_group_share asks for {least}. Sample more, or let the rubric tell "
            "replies apart."
        )
    metrics = train_checkpoint(
        start=start,
        base=base,
        batch=job.frame("reward_batches"),
        weights=job.campaign.rubric.weights(),
        training=job.campaign.training.from_folder(job.campaign.folder),
        sampling=job.campaign.rollouts.sampling,
        seed=job.campaign.seed,
        workdir=job.workdir,
        kept=job.kept,
        log_step=job.log_step,
        progress=job.progress,
    )
    return Output(
        content_hash=models.content_hash(job.workdir / "checkpoint"),
        rows={"steps": int(metrics.pop("steps")), "rollouts": batch.rows["rollouts"]},
        metrics=metrics,
    )


def _eval_reports(job: Job) -> Output:
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
    if alarms is not None:
        found = watch(job, alarms, rounds, kl)
        rounds, watched, report["alarms"] = found.rounds, found.metrics, found.report
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
    )


def _known(numbers: Mapping[str, float | None]) -> dict[str, float]:
    """Without those nobody can know, e.g. the bounds of a mean over one prompt."""
    return {name: number for name, number in numbers.items() if number is not None}


def _write_report(job: Job, report: dict[str, Any], rows_by_round: dict[int, pl.DataFrame]) -> None:
    """report.json, the page, and its plots as pictures."""
    from rft_pipeline.report.alarms import alarm_charts
    from rft_pipeline.report.page import render_page
    from rft_pipeline.report.plots import charts, to_png

    (job.workdir / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    page = render_page(report, rows_by_round, job.title, job.campaign.description)
    (job.workdir / "report.html").write_text(page, encoding="utf-8")
    drawn = charts(report, rows_by_round) | (alarm_charts(report["alarms"]) if "alarms" in report else {})
    for name, chart in drawn.items():
        (job.workdir / f"{name}.png").write_bytes(to_png(chart))


BODIES: dict[str, Callable[[Job], Output]] = {
    "prompts": _prompts,
    "rubric": _rubric,
    "policy": _policy,
    "labels": _labels,
    "judge_audit": judge_audit,
    "rollouts": _rollouts,
    "judge_scores": _judge_scores,
    "reward_batches": _reward_batches,
    "checkpoints": _checkpoints,
    "eval_reports": _eval_reports,
    "promotion": promotion,
}
