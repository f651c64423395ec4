"""The stage `promotion`: compares the rounds' held-out replies with the champion's."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar

import polars as pl

from rft_pipeline.alarms.watch import held_out_scores
from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import with_prompts
from rft_pipeline.campaign.continuation import BASE, START, Continuation
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.errors import StoreError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.estimates import by_people
from rft_pipeline.labels.held_out import DECISION
from rft_pipeline.labels.policies import PolicyReplies
from rft_pipeline.labels.preferences import PREFERENCES, Preference, preference, preferences, votes_of
from rft_pipeline.labels.table import HELD_OUT_LABELS, labels_of
from rft_pipeline.promotion import looks
from rft_pipeline.promotion.decide import HELD, NOT_WATCHED, Side, decide_promotion
from rft_pipeline.promotion.looks import LOOK, LOOKS, Looks, look_number
from rft_pipeline.rewards.batch import make_batch
from rft_pipeline.stages.base import (
    CHECKPOINT,
    WARM_START,
    WARM_START_CALLED,
    MlflowRun,
    Node,
    Output,
    Payload,
    Sources,
    Stage,
    Upstream,
    audit_role,
    checkpoint_roles,
    compared_roles,
)
from rft_pipeline.stages.counting import Counting
from rft_pipeline.stages.eval_reports import EvalReports
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.rows_used import FindRecord, JudgedRows, judged_replies, read_columns
from rft_pipeline.store import Record, RecordStore, champions
from rft_pipeline.store.champions import Champion

PAGE = "promotion.html"
FIRST_POLICY = "champion.base"
"""The source with the policy that the rounds of an edit cycle must beat while there is no champion."""


class Promotion(Stage):
    """Choose the round that becomes the champion."""

    name = "promotion"
    description = "Compares every round with the champion on held-out prompts; of those that pass, promotes the best."
    version = 6
    loads = frozenset({"evaluation", "judges"})
    scope = "end"
    decides = True
    pages: ClassVar = {PAGE: ".promotion.html"}
    report = EvalReports()
    """A champion that is no round of the campaign is sampled and judged like the rounds of an eval report."""

    def upstream(self, campaign: Campaign, round_: int) -> dict[str, str]:
        return {
            "eval_reports": f"round_{round_}/eval_reports",
            "prompts": "prompts",
            "rubric": "rubric",
            **audit_role(campaign),
            "base": compared_roles(campaign)["base"],
            **checkpoint_roles(round_),
        }

    def criteria(self, campaign: Campaign) -> tuple[Criterion, ...]:
        return campaign.evaluated

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        of_report = self.report.settings(campaign, node)
        of_report.pop("policy_called", None)  # names come from the report
        return {**of_report, **campaign.promotion.identity}

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        """The rounds are compared with the champion, or with base if there is none."""
        evidence = upstream["eval_reports"].content_hash
        champion = _champion_content(sources, evidence)
        first = {} if champion or FIRST_POLICY not in sources else {FIRST_POLICY: sources[FIRST_POLICY]}
        compared = {role: record for role, record in upstream.items() if role != "eval_reports"}
        return {
            "eval_reports": evidence,
            "champion": champion or first.get(FIRST_POLICY, upstream["base"].content_hash),
            **self.report.inputs(campaign, node, compared, sources),
            **first,
            **{name: sources[name] for name in (HELD_OUT_LABELS, PREFERENCES) if name in sources},
        }

    def made_from(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> Payload:
        """Adds the number of this decision among those on the same held-out prompts."""
        found = super().made_from(campaign, node, upstream, sources)
        known: Looks = json.loads(sources.get(LOOKS, "{}"))
        found["inputs"][LOOK] = str(look_number(known, found["inputs"]["prompts"], looks.decision_of(found)))
        return found

    def run(self, job: Job) -> Output:
        """Decide, and write `promotion.json` and its page; also the replies of a champion that is not in the report."""
        labels = labels_of(job.campaign, job.home.store, held_out=True)
        rounds, base = _sides(job, labels)
        rival, made, read = _rival(job, [base, *rounds], labels)
        gates, look = list(job.campaign.rubric.gates()), int(job.made_from["inputs"][LOOK])
        votes = votes_of(job.campaign.name, job.home.store)
        preferred = _preferences(rounds, rival, votes)
        decision = decide_promotion(rounds, rival, gates, job.campaign.promotion, look, preferred)
        plain = {**asdict(decision), "rounds": [{**asdict(each), "passed": each.passed} for each in decision.rounds]}
        if between := _all_preferences([rival, base, *rounds], votes):
            plain |= {"preferences": [each.plain for each in between]}
        (job.workdir / DECISION).write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
        _write_page(job, plain)
        policy = next((each.policy for each in rounds if each.round == decision.promoted), None)
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
        """Count the replies of a champion that is neither base nor a round, and their judgements."""
        counting.work.add("promotion", 1)
        report, how = counting.known.get("eval_reports"), counting.campaign.evaluation
        champion = _champion_content(counting.sources, "" if report is None else report.content_hash)
        champion = champion or counting.sources.get(FIRST_POLICY, "")
        if not champion or champion in {record.content_hash for record in counting.known.values()}:
            return
        prompts, expected = counting.prompts("eval"), counting.eval_prompts()
        found, missing = counting.sampled(prompts, expected, champion, how.samples_per_prompt, how.sampling)
        rows = None if prompts is None or found is None else with_prompts(found, prompts)
        compared = "the champion" if counting.sources.get("champion") else "the policy before any round"
        counting.work.notes.append(f"compares with {compared}, which is not in the report: its replies are judged too")
        counting.judged(counting.campaign.single_criteria, rows, missing, prompts)

    def rollouts_in(self, record: Record) -> pl.DataFrame:
        if not _samples_a_champion(record):
            return super().rollouts_in(record)
        return read_columns(record.path("promotion.parquet"), ["rollout_id"])

    def judgements_in(self, record: Record, at: FindRecord) -> Iterator[JudgedRows]:
        if _samples_a_champion(record):
            yield from judged_replies(record, record.path("promotion.parquet"))

    def track(self, record: Record, run: MlflowRun) -> None:
        run.artifacts(record, PAGE, DECISION)


def _champion_content(sources: Sources, evidence: str) -> str:
    """The content hash of the champion that rounds with this eval report must beat; empty without one."""
    return sources.get(f"champion.{evidence}", sources.get("champion", ""))


def first_policy(continuation: Continuation, records: RecordStore) -> Record | None:
    """The record of the policy that an edit cycle's start was trained from, through earlier rounds and edit cycles:
    base or the warm start; None if it is gone. The start was never shown to be better, so a cycle without a champion is
    compared with this policy."""
    record = records.at(continuation.start.address)
    while record is not None:
        stage = record.payload["stage"]
        if stage == WARM_START or (stage == "policy" and CHECKPOINT not in record.upstream):
            return record
        above = record.upstream.get(CHECKPOINT, record.upstream.get("policy"))
        record = None if above is None else records.at(above)
    return None


def _samples_a_champion(record: Record) -> bool:
    """Whether a promotion sampled and judged a champion that is not in the eval report."""
    return (record.folder / "promotion.parquet").is_file()


def decision_of(record: Record) -> dict[str, Any]:
    """The decision in a promotion's record."""
    found: dict[str, Any] = json.loads(record.path(DECISION).read_text(encoding="utf-8"))
    return found


def trained_on(record: Record, records: RecordStore) -> set[str]:
    """Content hashes of the train prompts of a promotion's rounds; "" for a round whose records are gone."""
    found = set()
    for role, address in record.upstream.items():
        if role.startswith("checkpoints_"):
            checkpoint = records.at(address)
            batch = checkpoint and records.at(checkpoint.upstream["reward_batches"])
            rollouts = batch and records.at(batch.upstream["rollouts"])
            found.add("" if rollouts is None else rollouts.payload["inputs"]["prompts"])
    return found


def alarm_level(report: Mapping[str, Any], round_: int) -> str:
    """The alarm level of a round in an eval report; `NOT_WATCHED` without alarms."""
    if "alarms" not in report:
        return NOT_WATCHED
    verdicts = report["alarms"].get("verdicts", [])
    return next((str(each["level"]) for each in verdicts if each["round"] == round_), "ok")


def _write_page(job: Job, decided: dict[str, Any]) -> None:
    """Write the page, and its plot as a picture."""
    from rft_pipeline.report.plots import to_png
    from rft_pipeline.report.promotion_page import PICTURE, forest, render_promotion

    page = render_promotion(decided, job.title, job.campaign.description, job.upstream["eval_reports"].address)
    (job.workdir / PAGE).write_text(page, encoding="utf-8")
    if (chart := forest(decided, PICTURE)) is not None:
        (job.workdir / "differences.png").write_bytes(to_png(chart))


def _with_people(job: Job, rows: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Adds the scores and rewards by people's labels of held-out replies, if there are any."""
    if labels.is_empty():
        return rows
    return rows.with_columns(by_people(job.campaign.rubric, labels, rows).get_columns())


def _sides(job: Job, labels: pl.DataFrame) -> tuple[list[Side], Side]:
    """The replies of each round, and those of base, from the eval report."""
    report = job.upstream["eval_reports"]
    numbers = json.loads(report.path("report.json").read_text(encoding="utf-8"))
    rows = pl.read_parquet(report.path("eval_reports.parquet"), glob=False)
    if not job.campaign.held_out:
        rows = rows.drop(HELD, strict=False)  # with alarms but without criteria of the alarms, the column is null

    def side(name: str, role: str, number: int) -> Side:
        replies = _with_people(job, rows.filter(round=number), labels)
        return Side(name, job.upstream[role].content_hash, replies, number, alarm_level(numbers, number))

    rounds = [side(f"round {number}", f"checkpoints_{number}", number) for number in range(1, job.campaign.rounds + 1)]
    return rounds, side(str(numbers["rounds"][0]["name"]), "base", 0)


def _preferences(rounds: Sequence[Side], rival: Side, votes: pl.DataFrame) -> dict[int, Preference]:
    """People's preference for each round over the champion, by round, where they compared these replies."""
    found = {each.round: preference(each.name, each.rows, rival.name, rival.rows, votes) for each in rounds}
    return {round_: each for round_, each in found.items() if each is not None}


def _all_preferences(sides: Sequence[Side], votes: pl.DataFrame) -> list[Preference]:
    """People's preferences between any two sides; the names of the first ones count."""
    return preferences([PolicyReplies(each.name, each.policy, each.rows) for each in sides], votes)


def _rival(job: Job, sides: Sequence[Side], labels: pl.DataFrame) -> tuple[Side, int, dict[str, str]]:
    """The replies that the rounds are compared with: the champion's, or base's (the first of `sides`) without one.

    Also returns how many were sampled, and the record of a champion that is neither base nor a round.
    """
    known = champions.history(job.home.root, job.campaign.name)
    champion = champions.to_beat(known, job.upstream["eval_reports"].content_hash)
    if champion is None:
        continuation, records = job.campaign.continuation, RecordStore(job.home.store)
        first = None if continuation is None else first_policy(continuation, records)
        if first is None or first.content_hash == sides[0].policy:
            return sides[0], 0, {}
        called = BASE if first.payload["stage"] == "policy" else WARM_START_CALLED
        side, made = _sampled(called, first, job, labels)
        return side, made, {"champion": first.address}
    same = next((side for side in sides if side.policy == champion.content_hash), None)
    if same is not None:
        return (same if same.round else replace(same, name=_champion_called(same.name))), 0, {}
    side, made = _champion(job, champion, labels)
    return side, made, {"champion": champion.record}


def _champion_called(baseline: str) -> str:
    """The name of a champion that is the baseline of the report, with the name that it has there."""
    return f"the champion ({baseline})" if baseline == START else "the champion"


def _champion(job: Job, champion: Champion, labels: pl.DataFrame) -> tuple[Side, int]:
    """The replies of a champion that is neither base nor a round of this campaign, and how many were sampled."""
    record = RecordStore(job.home.store).at(champion.record)
    if record is None:
        raise StoreError(
            f"{job.node.key}: the champion's record {champion.record} is gone, so no round can be compared with it; "
            f"run `rft rollback {job.campaign.name}`, or promote a round with --force"
        )
    return _sampled("the champion", record, job, labels)


def _sampled(name: str, record: Record, job: Job, labels: pl.DataFrame) -> tuple[Side, int]:
    """The replies of the weights in a record, and how many were sampled."""
    how, rubric = job.campaign.evaluation, job.campaign.rubric
    prompts = job.frame("prompts").filter(split="eval")
    with_champion = replace(job, upstream={**job.upstream, "champion": record})
    rows, made = with_champion.sample(prompts, "champion", how.samples_per_prompt, how.sampling, how.runtime)
    scores, _ = job.judge(rows)
    batch = make_batch(rows, scores, job.weights(), rubric.gates(), job.campaign.reward).rows
    alarms = job.campaign.alarms
    if alarms is not None and alarms.held_out:
        seen = held_out_scores(job.judge(rows, alarms.held_out)[0], alarms.held_out_weights())
        batch = batch.join(seen, on="rollout_id", how="left", maintain_order="left")
    job.write(batch)
    return Side(name, record.content_hash, _with_people(job, batch, labels)), made
