"""What a stage would have to make, counted: rollouts, judgements of each criterion, optimiser steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from rft_pipeline.audit.rows import audit_rows, compares, people_rows, rows_to_judge, rows_to_retest
from rft_pipeline.campaign import Alarms, Campaign, Sampling, Training
from rft_pipeline.campaign.addresses import (
    as_rollout,
    choose_prompts,
    judge_of,
    judgement_addresses,
    judges_for_alarms,
    kl_draw,
    retest_judge_id,
    rollout_addresses,
    sampling_fingerprint,
    with_prompts,
)
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.errors import GateError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.judges.protocols import GROUPED
from rft_pipeline.labels.replies import labelled_replies
from rft_pipeline.labels.table import labels_of
from rft_pipeline.pipeline.plan.decisions import Decision
from rft_pipeline.prompts.reading import read_anchors
from rft_pipeline.stages.graph import Node
from rft_pipeline.stages.payloads import payload
from rft_pipeline.store import Home, Record, RecordStore, judgements_table, rollouts_table
from rft_pipeline.store.tables import judged_by
from rft_pipeline.trainers.kept import steps_done
from rft_pipeline.trainers.steps import READ, most_steps, planned_steps

UNKNOWN = ""
"""The content of a checkpoint that is still to be trained: nothing was asked about it."""


@dataclass(frozen=True)
class Rows:
    """Rows a stage would make, and those of its rows that are there already."""

    make: int
    have: int


@dataclass
class Work:
    """What has to be made, by the names under which progress counts it."""

    make: dict[str, int] = field(default_factory=dict)
    have: int = 0
    """Pieces that are there already."""
    later: int = 0
    """Judgements that may follow at most, from what is found out on the way."""
    refusal: str = ""
    """Why the stage will refuse to work, where that is known already."""

    def add(self, what: str, make: int, have: int = 0) -> None:
        if make:
            self.make[what] = self.make.get(what, 0) + make
        self.have += have

    @property
    def rows(self) -> Rows:
        return Rows(make=sum(self.make.values()), have=self.have)


def work_of(campaign: Campaign, decision: Decision, sources: Mapping[str, str], home: Home) -> Work:
    """The work of a node that has to run."""
    counting = _Counting(campaign, decision.node, decision.known, sources, home)
    match decision.node.stage:
        case "rollouts":
            counting.round_rollouts()
        case "judge_audit":
            counting.audit()
        case "judge_scores":
            counting.judgements()
        case "checkpoints":
            counting.steps()
        case "eval_reports":
            counting.evaluation()
        case "promotion":
            counting.promotion()
        case stage:
            counting.work.add(stage, 1)
    return counting.work


def rows_there(decision: Decision) -> Rows:
    """The rows of a node that does not run: none in a kept round that was left before it."""
    if decision.found is None:
        return Rows(make=0, have=0)
    rows = decision.found.rows
    counted = {
        "judge_audit": "judgements",
        "rollouts": "rollouts",
        "judge_scores": "judgements",
        "checkpoints": "steps",
        "eval_reports": "rollouts",
    }
    return Rows(make=0, have=rows.get(counted.get(decision.node.stage, ""), 1))


@dataclass
class _Counting:
    campaign: Campaign
    node: Node
    known: Mapping[str, Record]
    sources: Mapping[str, str]
    home: Home
    work: Work = field(default_factory=Work)

    def round_rollouts(self) -> None:
        how = self.campaign.rollouts
        prompts = self._prompts("train")
        if prompts is not None:
            prompts = choose_prompts(prompts, how.prompts_per_round, self.campaign.seed, self.node.round)
        self._sampled(prompts, how.prompts_per_round, self._content("policy"), how.group_size, how.sampling)

    def judgements(self) -> None:
        how = self.campaign.rollouts
        rollouts = self.known.get("rollouts")
        if rollouts is None:
            self._judged(None, how.prompts_per_round * how.group_size)
        else:
            self._judged(pl.read_parquet(rollouts.path("rollouts.parquet"), glob=False), 0)

    def audit(self) -> None:
        """What the audit judges: the anchors, some of them edited or asked about twice, and what people labelled."""
        campaign, store = self.campaign, self.home.store
        assert campaign.anchors_path is not None
        assert campaign.audit is not None
        labels = labels_of(campaign, store)
        people = people_rows(labels, labelled_replies(campaign.name, store, labels), campaign.rubric.names)
        anchors = read_anchors(campaign.anchors_path, campaign.rubric)
        rows = audit_rows(anchors, campaign.audit.probed_anchors, campaign.seed, people)
        second = {name: retest_judge_id(judge) for name, judge in self.sources.items()}
        for criterion in campaign.rubric.judged:
            asked = rows_to_judge(rows, criterion)
            self._asked_about(asked, criterion, [self.sources])
            self._asked_about(rows_to_retest(asked, rows, criterion), criterion, [second])

    def steps(self) -> None:
        """The steps that a killed run saved are there already."""
        how, batch = self.campaign.rollouts, self.known.get("reward_batches")
        training = self.campaign.training.from_folder(self.campaign.folder)
        if batch is None:
            self.work.add("steps", most_steps(training, how.prompts_per_round, how.group_size))
            return
        rows = pl.read_parquet(batch.path("reward_batches.parquet"), columns=list(READ), glob=False)
        try:
            steps = planned_steps(rows, training, self.campaign.rubric.weights())
        except GateError as error:
            self.work.refusal = str(error)
            return
        done = min(steps, self._steps_done(training))
        self.work.add("steps", steps - done, done)

    def _steps_done(self, training: Training) -> int:
        if not self.node.upstream.keys() <= self.known.keys():
            return 0
        made_from = payload(self.campaign, self.node, self.known, self.sources)
        return steps_done(RecordStore(self.home.store).kept(self.node.key, fingerprint(made_from)), training)

    def evaluation(self) -> None:
        how, prompts = self.campaign.evaluation, self._prompts("eval")
        expected = self._eval_prompts()
        there: list[pl.DataFrame] = []
        missing = 0
        for round_ in range(self.node.round + 1):
            role = "base" if round_ == 0 else f"checkpoints_{round_}"
            missing += self._sampled(
                prompts, expected, self._content(role), how.samples_per_prompt, how.sampling, there
            )
        rows = None if prompts is None or not there else with_prompts(pl.concat(there).unique("rollout_id"), prompts)
        self._judged(rows, missing)
        if self.campaign.alarms is not None:
            self._for_kl(self.campaign.alarms, prompts, expected)
            self._anchors(self.campaign.alarms)

    def _for_kl(self, alarms: Alarms, prompts: pl.DataFrame | None, expected: int) -> None:
        """The replies that each round's KL to base is estimated on."""
        how, base = self.campaign.evaluation, self._content("base")
        if how.sampling == how.kl_sampling:
            return  # the evaluation's own replies
        chosen, count, sampling = (None, 1, how.kl_sampling) if prompts is None else kl_draw(self.campaign, prompts)
        for round_ in range(1, self.node.round + 1):
            policy = self._content(f"checkpoints_{round_}")
            if policy is None or policy != base:
                self._sampled(chosen, min(expected, alarms.kl_prompts), policy, count, sampling)

    def promotion(self) -> None:
        """A champion that is neither base nor one of the rounds answers the held-out prompts too, and is judged."""
        self.work.add("promotion", 1)
        report, how = self.known.get("eval_reports"), self.campaign.evaluation
        evidence = "" if report is None else f"champion.{report.content_hash}"
        champion = self.sources.get(evidence, self.sources.get("champion", ""))
        if not champion or champion in {record.content_hash for record in self.known.values()}:
            return
        there: list[pl.DataFrame] = []
        prompts, expected = self._prompts("eval"), self._eval_prompts()
        missing = self._sampled(prompts, expected, champion, how.samples_per_prompt, how.sampling, there)
        self._judged(None if prompts is None or not there else with_prompts(there[0], prompts), missing)

    def _anchors(self, alarms: Alarms) -> None:
        """What alarms ask about the anchors in this round. Phrases that turn out to pay will be tried on bad ones,
        which nothing tells before."""
        path, trained = self.campaign.anchors_path, self._content(f"checkpoints_{self.node.round}")
        anew = judges_for_alarms(self.campaign, self.sources, self.node.round, trained or UNKNOWN)
        judges = [self.sources, anew] if self.node.round == 1 else [anew]
        if path is None:
            return
        anchors = read_anchors(path, self.campaign.rubric)
        for criterion in self.campaign.rubric.judged:
            label = pl.col("labels").struct.field(criterion.name)
            self._asked_about(anchors.filter(label.is_not_null()), criterion, judges)
            if criterion.weight and not compares(criterion):
                bad = min(anchors.filter(label == 0).height, alarms.tried_anchors)
                self.work.later += 2 * bad * alarms.phrases * max(1, len(criterion.members))

        for criterion in alarms.held_out:
            if criterion.judged:
                self._asked_about(anchors, criterion, judges)

    def _asked_about(self, replies: pl.DataFrame, criterion: Criterion, asked: Sequence[Mapping[str, str]]) -> None:
        views = [as_rollout(row) for row in replies.iter_rows(named=True)]
        for each in criterion.members or (criterion,):
            for judges in {judge_of(each, judges): judges for judges in asked}.values():
                wanted = judgement_addresses(replies["id"].to_list(), views, each, judges)
                self._missing(each, wanted.unique("judgement_id", maintain_order=True), judges)

    def _missing(self, criterion: Criterion, wanted: pl.DataFrame, judges: Mapping[str, str]) -> None:
        narrow = judged_by(criterion.fingerprint, judge_of(criterion, judges))
        missing = judgements_table(self.home.store).missing(wanted, *narrow).height
        self.work.add(f"judgements of {criterion.name}", missing, wanted.height - missing)

    def _eval_prompts(self) -> int:
        """How many there were at the last run."""
        before = RecordStore(self.home.store).current(f"{self.campaign.name}/prompts")
        return 0 if before is None else before.rows["eval"]

    def _prompts(self, split: str) -> pl.DataFrame | None:
        prompts = self.known.get("prompts")
        return (
            None
            if prompts is None
            else pl.read_parquet(prompts.path("prompts.parquet"), glob=False).filter(split=split)
        )

    def _content(self, role: str) -> str | None:
        return self.known[role].content_hash if role in self.known else None

    def _sampled(
        self,
        prompts: pl.DataFrame | None,
        expected: int,
        policy: str | None,
        count: int,
        sampling: Sampling,
        there: list[pl.DataFrame] | None = None,
    ) -> int:
        """Count the rollouts of one policy (its content hash), put those there into `there`, and return how many are
        missing.

        `expected` is the number of prompts as far as it can be told when they are not known.
        """
        if prompts is None or policy is None:
            missing = (expected if prompts is None else prompts.height) * count
            self.work.add("rollouts", missing)
            return missing
        named = sampling_fingerprint(
            sampling, self.campaign.policy.system, self.campaign.seed, self.campaign.policy.system_in
        )
        wanted = rollout_addresses(prompts, policy, named, count)
        table, narrow = rollouts_table(self.home.store), pl.col("policy") == policy
        missing = table.missing(wanted, narrow).height
        self.work.add("rollouts", missing, wanted.height - missing)
        if there is not None:
            there.append(table.read(wanted, narrow))
        return missing

    def _judged(self, rollouts: pl.DataFrame | None, unknown: int) -> None:
        """Count the judgements of rollouts that are there, and of a number of rollouts that are not."""
        views = None if rollouts is None else [as_rollout(row) for row in rollouts.iter_rows(named=True)]
        asked = (
            self.campaign.single_criteria
            if self.node.stage in ("eval_reports", "promotion")
            else self.campaign.rubric.single_criteria
        )
        for criterion in asked:
            what = f"judgements of {criterion.name}"
            self.work.add(what, unknown)
            if rollouts is None or views is None:
                continue
            wanted = judgement_addresses(rollouts["rollout_id"].to_list(), views, criterion, self.sources)
            wanted = wanted.unique("judgement_id", maintain_order=True)
            if unknown and criterion.judge.protocol in GROUPED:
                self.work.add(what, wanted.height)  # groups that will be other groups
                continue
            self._missing(criterion, wanted, self.sources)
