"""What a stage would have to make, counted: rollouts, judgements of each criterion, optimiser steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from rft_pipeline.campaign import Campaign, Sampling
from rft_pipeline.campaign.addresses import (
    as_rollout,
    judge_of,
    judgement_addresses,
    rollout_addresses,
    sampling_fingerprint,
)
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.stages.base import Node
from rft_pipeline.store import Home, Record, RecordStore, judgements_table, rollouts_table
from rft_pipeline.store.tables import judged_by


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


@dataclass
class Counting:
    """Counts the work of one node that has to run; the node's stage calls it."""

    campaign: Campaign
    node: Node
    known: Mapping[str, Record]
    """The records that exist, by role."""
    sources: Mapping[str, str]
    home: Home
    work: Work = field(default_factory=Work)

    def prompts(self, split: str) -> pl.DataFrame | None:
        """None when the prompts have to be read again."""
        record = self.known.get("prompts")
        return (
            None if record is None else pl.read_parquet(record.path("prompts.parquet"), glob=False).filter(split=split)
        )

    def eval_prompts(self) -> int:
        """How many held-out prompts the last run had."""
        before = RecordStore(self.home.store).current(f"{self.campaign.name}/prompts")
        return 0 if before is None else before.rows["eval"]

    def content(self, role: str) -> str | None:
        return self.known[role].content_hash if role in self.known else None

    def asked_about(self, replies: pl.DataFrame, criterion: Criterion, asked: Sequence[Mapping[str, str]]) -> None:
        """Count the judgements of replies by a criterion, for each of several sets of judges."""
        views = [as_rollout(row) for row in replies.iter_rows(named=True)]
        for each in criterion.members or (criterion,):
            for judges in {judge_of(each, judges): judges for judges in asked}.values():
                wanted = judgement_addresses(replies["id"].to_list(), views, each, judges)
                self._missing(each, wanted.unique("judgement_id", maintain_order=True), judges)

    def _missing(self, criterion: Criterion, wanted: pl.DataFrame, judges: Mapping[str, str]) -> None:
        narrow = judged_by(criterion.fingerprint, judge_of(criterion, judges))
        missing = judgements_table(self.home.store).missing(wanted, *narrow).height
        self.work.add(f"judgements of {criterion.name}", missing, wanted.height - missing)

    def sampled(
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

    def judged(self, criteria: Sequence[Criterion], rollouts: pl.DataFrame | None, unknown: int) -> None:
        """Count the judgements of rollouts that exist, and of a number of rollouts that do not."""
        views = None if rollouts is None else [as_rollout(row) for row in rollouts.iter_rows(named=True)]
        for criterion in criteria:
            what = f"judgements of {criterion.name}"
            self.work.add(what, unknown)
            if rollouts is None or views is None:
                continue
            wanted = judgement_addresses(rollouts["rollout_id"].to_list(), views, criterion, self.sources)
            wanted = wanted.unique("judgement_id", maintain_order=True)
            if unknown and criterion.judge.COMPARES_GROUP:
                self.work.add(what, wanted.height)  # groups that will be other groups
                continue
            self._missing(criterion, wanted, self.sources)
