"""The stage `promotion`: the rounds' held-out replies compared with the champion's."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import polars as pl

from rft_pipeline.alarms.watch import held_out_scores
from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import with_prompts
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.errors import StoreError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.estimates import by_people
from rft_pipeline.labels.held_out import DECISION
from rft_pipeline.labels.table import HELD_OUT_LABELS, labels_of
from rft_pipeline.promotion import looks
from rft_pipeline.promotion.decide import HELD, Side, decide_promotion
from rft_pipeline.promotion.looks import LOOK, LOOKS, Looks, look_number
from rft_pipeline.rewards.batch import make_batch
from rft_pipeline.stages.base import (
    MlflowRun,
    Node,
    Output,
    Payload,
    Sources,
    Stage,
    Upstream,
    audit_role,
    checkpoint_roles,
)
from rft_pipeline.stages.counting import Counting
from rft_pipeline.stages.eval_reports import EvalReports
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.rows_used import FindRecord, JudgedRows, judged_replies, read_columns
from rft_pipeline.store import Record, RecordStore, champions
from rft_pipeline.store.champions import Champion

PAGE = "promotion.html"


class Promotion(Stage):
    """Choose the round that becomes the champion. Moving the champion is up to whoever runs the stage."""

    name = "promotion"
    version = 4
    scope = "end"
    page = (PAGE, ".promotion.html")
    report = EvalReports()
    """A champion that is no round of the campaign is sampled and judged as eval reports do."""

    def upstream(self, campaign: Campaign, round_: int) -> dict[str, str]:
        return {
            "eval_reports": f"round_{round_}/eval_reports",
            "prompts": "prompts",
            "rubric": "rubric",
            **audit_role(campaign),
            "base": "policy",
            **checkpoint_roles(round_),
        }

    def criteria(self, campaign: Campaign) -> tuple[Criterion, ...]:
        return campaign.evaluated

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        return {**self.report.settings(campaign, node), **campaign.promotion.identity}

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        """The rounds are compared with the champion; with base, until there is one."""
        evidence = upstream["eval_reports"].content_hash
        champion = sources.get(f"champion.{evidence}", sources.get("champion", ""))
        compared = {role: record for role, record in upstream.items() if role != "eval_reports"}
        return {
            "eval_reports": evidence,
            "champion": champion or upstream["base"].content_hash,
            **self.report.inputs(campaign, node, compared, sources),
            **({HELD_OUT_LABELS: sources[HELD_OUT_LABELS]} if HELD_OUT_LABELS in sources else {}),
        }

    def made_from(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> Payload:
        """With the number of the decision among those on the same held-out prompts."""
        found = super().made_from(campaign, node, upstream, sources)
        known: Looks = json.loads(sources.get(LOOKS, "{}"))
        found["inputs"][LOOK] = str(look_number(known, found["inputs"]["prompts"], looks.decision_of(found)))
        return found

    def run(self, job: Job) -> Output:
        """Decide, and write `promotion.json` and its page, beside them the replies of a champion that no eval report
        holds; the champion itself is moved by whoever runs the stage."""
        campaign, report = job.campaign, job.upstream["eval_reports"]
        told = json.loads(report.path("report.json").read_text(encoding="utf-8"))
        rows = pl.read_parquet(report.path("eval_reports.parquet"), glob=False)
        if not campaign.held_out:
            rows = rows.drop(HELD, strict=False)  # alarms write the column, of nulls where nobody was asked
        known = champions.history(job.home.root, campaign.name)
        champion = champions.to_beat(known, report.content_hash)
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
            int(job.made_from["inputs"][LOOK]),
        )
        plain = {**asdict(decision), "rounds": [{**asdict(each), "passed": each.passed} for each in decision.rounds]}
        (job.workdir / DECISION).write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
        _write_page(job, plain)
        policy = None if decision.promoted is None else policies[decision.promoted][1]
        bounds = {f"reward_lower_round_{each.round}": each.lower for each in decision.rounds}
        return Output(
            content_hash=fingerprint({"promoted": policy, "over": decision.champion_policy}),
            rows={"rounds": len(decision.rounds), "passed": sum(each.passed for each in decision.rounds), "made": made},
            metrics={
                "promoted_round": float(decision.promoted or 0),
                "look": float(decision.look),
                "level": decision.level,
            }
            | {name: bound for name, bound in bounds.items() if bound is not None},
            upstream=read,
        )

    def count(self, counting: Counting) -> None:
        """A champion that is neither base nor one of the rounds answers the held-out prompts too, and is judged."""
        counting.work.add("promotion", 1)
        report, how = counting.known.get("eval_reports"), counting.campaign.evaluation
        evidence = "" if report is None else f"champion.{report.content_hash}"
        champion = counting.sources.get(evidence, counting.sources.get("champion", ""))
        if not champion or champion in {record.content_hash for record in counting.known.values()}:
            return
        there: list[pl.DataFrame] = []
        prompts, expected = counting.prompts("eval"), counting.eval_prompts()
        missing = counting.sampled(prompts, expected, champion, how.samples_per_prompt, how.sampling, there)
        rows = None if prompts is None or not there else with_prompts(there[0], prompts)
        counting.judged(counting.campaign.single_criteria, rows, missing)

    def rollouts_in(self, record: Record) -> pl.DataFrame:
        if not _samples_a_champion(record):
            return super().rollouts_in(record)
        return read_columns(record.path("promotion.parquet"), ["rollout_id"])

    def judgements_in(self, record: Record, at: FindRecord) -> Iterator[JudgedRows]:
        if _samples_a_champion(record):
            yield from judged_replies(record, record.path("promotion.parquet"))

    def track(self, record: Record, run: MlflowRun) -> None:
        run.artifacts(record, PAGE, DECISION)


def _samples_a_champion(record: Record) -> bool:
    """Whether a promotion sampled and judged a champion that no eval report holds."""
    return (record.folder / "promotion.parquet").is_file()


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
