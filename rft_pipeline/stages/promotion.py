"""The promotion stage: the rounds' held-out replies beside the champion's, and what follows from them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import polars as pl

from rft_pipeline.alarms.watch import held_out_scores
from rft_pipeline.errors import StoreError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.estimates import by_people
from rft_pipeline.labels.held_out import DECISION
from rft_pipeline.labels.table import labels_of
from rft_pipeline.promotion.decide import HELD, Side, decide_promotion
from rft_pipeline.rewards.batch import make_batch
from rft_pipeline.stages.job import Job, Output
from rft_pipeline.stages.payloads import look_of
from rft_pipeline.store import Record, RecordStore, champions
from rft_pipeline.store.champions import Champion

PAGE = "promotion.html"


def promotion(job: Job) -> Output:
    """Decide, and write `promotion.json` and its page, beside them the replies of a champion that no eval report
    holds; the champion itself is moved by whoever runs the stage."""
    campaign, report = job.campaign, job.upstream["eval_reports"]
    told = json.loads(report.path("report.json").read_text(encoding="utf-8"))
    rows = pl.read_parquet(report.path("eval_reports.parquet"), glob=False)
    if not campaign.held_out:
        rows = rows.drop(HELD, strict=False)  # alarms write the column, of nulls where nobody was asked
    known = champions.history(job.home.root, campaign.name)
    champion = champions.against(known, report.content_hash)
    policies = [("base", job.upstream["base"].content_hash)]
    policies += [
        (f"round {number}", job.upstream[f"checkpoints_{number}"].content_hash)
        for number in range(1, campaign.rounds + 1)
    ]
    sides = [
        Side(name, policy, _with_people(job, rows.filter(round=number)), number, alarm_level(told, number))
        for number, (name, policy) in enumerate(policies)
    ]
    against, made, read = sides[0], 0, {}
    if champion is not None:
        same = [side for side in sides if side.policy == champion.content_hash]
        if same:
            against = same[0] if same[0].round else replace(same[0], name="the champion")
        else:
            against, made = _champion(job, champion)
            read = {"champion": champion.record}
    decision = decide_promotion(
        sides[1:],
        against,
        list(campaign.rubric.gates()),
        campaign.promotion,
        look_of(job.campaign, job.node, job.upstream, job.sources),
    )
    plain = {**asdict(decision), "rounds": [{**asdict(each), "passed": each.passed} for each in decision.rounds]}
    (job.workdir / DECISION).write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    _write_page(job, plain)
    policy = None if decision.promoted is None else policies[decision.promoted][1]
    bounds = {f"reward_lower_round_{each.round}": each.lower for each in decision.rounds}
    return Output(
        content_hash=fingerprint({"promoted": policy, "over": decision.champion_policy}),
        rows={"rounds": len(decision.rounds), "passed": sum(each.passed for each in decision.rounds), "made": made},
        metrics={"promoted_round": float(decision.promoted or 0), "look": float(decision.look), "level": decision.level}
        | {name: bound for name, bound in bounds.items() if bound is not None},
        upstream=read,
    )


def decision_of(record: Record) -> dict[str, Any]:
    """What a promotion's record decided."""
    found: dict[str, Any] = json.loads(record.path(DECISION).read_text(encoding="utf-8"))
    return found


def trained_on(record: Record, records: RecordStore) -> set[str]:
    """Content of the train prompts that the rounds of a promotion's record were made from; empty for a round whose
    records are gone."""
    found = set()
    for role, address in record.upstream.items():
        if role.startswith("checkpoints_"):
            checkpoint = records.at(address)
            batch = checkpoint and records.at(checkpoint.upstream["reward_batches"])
            rollouts = batch and records.at(batch.upstream["rollouts"])
            found.add("" if rollouts is None else rollouts.payload["inputs"]["prompts"])
    return found


def alarm_level(report: Mapping[str, Any], round_: int) -> str:
    """What the alarms of an eval report say of a round; ok where nothing watches."""
    verdicts = report.get("alarms", {}).get("verdicts", [])
    return next((str(each["level"]) for each in verdicts if each["round"] == round_), "ok")


def _write_page(job: Job, decided: dict[str, Any]) -> None:
    """The page, and its plot as a picture."""
    from rft_pipeline.report.plots import to_png
    from rft_pipeline.report.promotion_page import forest, render_promotion

    page = render_promotion(decided, job.title, job.campaign.description, job.upstream["eval_reports"].address)
    (job.workdir / PAGE).write_text(page, encoding="utf-8")
    if (chart := forest(decided)) is not None:
        (job.workdir / "differences.png").write_bytes(to_png(chart))


def _with_people(job: Job, rows: pl.DataFrame) -> pl.DataFrame:
    """With what people say, where they labelled replies to held-out prompts."""
    labels = labels_of(job.campaign, job.home.store, held_out=True)
    if labels.is_empty():
        return rows
    return rows.with_columns(by_people(job.campaign.rubric, labels, rows).get_columns())


def _champion(job: Job, champion: Champion) -> tuple[Side, int]:
    """The replies of a champion that is neither base nor a round of this campaign, and how many were sampled."""
    record = RecordStore(job.home.store).at(champion.record)
    if record is None:
        raise StoreError(
            f"{job.node.key}: the champion's record {champion.record} is gone, so that no round can be compared with "
            f"it; `rft rollback {job.campaign.name}`, or promote a round with --force"
        )
    how, rubric = job.campaign.evaluation, job.campaign.rubric
    prompts = job.frame("prompts").filter(split="eval")
    beside = replace(job, upstream={**job.upstream, "champion": record})
    rows, made = beside.sample(prompts, "champion", how.samples_per_prompt, how.sampling, how.runtime)
    scores, _ = beside.judge(rows)
    batch = make_batch(rows, scores, job.weights(), rubric.gates(), job.campaign.reward).rows
    alarms = job.campaign.alarms
    if alarms is not None and alarms.held_out:
        seen = held_out_scores(beside.judge(rows, alarms.held_out)[0], alarms.held_out_weights())
        batch = batch.join(seen, on="rollout_id", how="left", maintain_order="left")
    job.write(batch)
    return Side("the champion", champion.content_hash, _with_people(job, batch)), made
