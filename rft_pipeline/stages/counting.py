"""Counting the work of a stage for the plan: rollouts, judgements of each criterion, optimiser steps."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import polars as pl

from rft_pipeline.campaign import Campaign, PromptSource, Sampling
from rft_pipeline.campaign.addresses import (
    as_rollout,
    judge_of,
    judgement_addresses,
    rollout_addresses,
    sampling_fingerprint,
)
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.campaign.subjects import Subjects
from rft_pipeline.errors import RftError
from rft_pipeline.judges.checklist import items_of, judges_items
from rft_pipeline.progress import judgements_of, kind_of
from rft_pipeline.prompts.reading import merge_duplicates, read_source, source_name
from rft_pipeline.prompts.slots import with_system
from rft_pipeline.stages.base import Node
from rft_pipeline.store import Home, Record, RecordStore, judgements_table, rollouts_table
from rft_pipeline.store.rows import judged_by
from rft_pipeline.trainers.kept import steps_done

SCORES = "scores-{}.parquet"
"""The judgements of a generation, in the folder where its round keeps its state."""
SAMPLING = "sampling-{}.json"
"""In the same folder: the policy and the prompts of a generation that is being sampled."""
FURTHER = "in place of groups without variance"
"""Why a round in generations may sample further prompts."""


def is_record(what: str, stage: str) -> bool:
    """Whether a stage counts its one record by this name: its own. `rollouts` counts rows by its name."""
    return what == stage != "rollouts"


@dataclass(frozen=True)
class Rows:
    """How many rows a stage would make, and how many it already has."""

    make: int
    have: int


@dataclass
class Work:
    """The work of one stage."""

    make: dict[str, int] = field(default_factory=dict)
    """Rows to make, by the names under which progress counts them."""
    have: int = 0
    """Rows that exist."""
    later: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The most that may be added, depending on what the run finds, by kind and reason."""
    more: dict[str, int] = field(default_factory=dict)
    """The most that may be added, by the same names as `make`."""
    fewer: dict[str, int] = field(default_factory=dict)
    """The most by which a count of `make` may turn out lower."""
    refusal: str = ""
    """Why the stage will fail, if that is already known."""
    made_up_of: list[str] = field(default_factory=list)
    """What the counts are products and sums of, in words: `4 prompts × 8 replies`."""

    notes: list[str] = field(default_factory=list)
    """What is counted in addition to the stage's own rows, and why."""

    def add(self, what: str, make: int, have: int = 0) -> None:
        if make:
            self.make[what] = self.make.get(what, 0) + make
        self.have += have

    def may_add(self, what: str, most: int, why: str) -> None:
        """Note that the run may make up to `most` more."""
        if most:
            self.more[what] = self.more.get(what, 0) + most
            self.later[kind_of(what), why] += most

    @property
    def later_in_words(self) -> list[str]:
        return [f"up to {most:,} more {kind}, {why}" for (kind, why), most in self.later.items()]

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """The least and the most that the run makes, of what is not certain."""
        counts = {what: self.make.get(what, 0) for what in (*self.more, *self.fewer)}
        return {
            what: (count - self.fewer.get(what, 0), count + self.more.get(what, 0)) for what, count in counts.items()
        }

    @property
    def rows(self) -> Rows:
        return Rows(make=sum(self.make.values()), have=self.have)


@dataclass(frozen=True)
class RoundCounts:
    """The work of a round in generations, and what a killed run of it made."""

    rollouts: int
    rollouts_judged: int
    rollouts_waiting: int
    """Those of an unfinished generation, which are stored and not judged."""
    steps: int
    steps_made: int


@dataclass
class Counting:
    """Counts the work of one node that must run; the node's stage calls it."""

    campaign: Campaign
    node: Node
    known: Mapping[str, Record]
    """The upstream records that exist, by role."""
    sources: Mapping[str, str]
    home: Home
    kept_of_round: Path | None = None
    """Where a round in generations keeps its state; None when it cannot have begun."""
    work: Work = field(default_factory=Work)

    def prompts(self, split: str) -> pl.DataFrame | None:
        """The prompts of a split: as their record has them, or as their file does when their stage must run first. None
        for a file that cannot be read, which that stage will refuse, and for a data set of the hub."""
        record = self.known.get("prompts")
        if record is not None:
            return pl.read_parquet(record.path("prompts.parquet"), glob=False).filter(split=split)
        source: PromptSource = getattr(self.campaign.prompts, split)
        if source.file_type == "hub":
            return None
        where, system = source_name(source, self.campaign.folder), self.campaign.policy.system
        try:
            return merge_duplicates(with_system(read_source(source, self.campaign.folder), system, where)).rows
        except RftError:
            return None

    @staticmethod
    def judgements_of(criterion: Criterion, replies: int, prompts: pl.DataFrame | None) -> int:
        """The number of judgements of so many replies, equally many to each prompt: a checklist has one an item."""
        if not replies or not judges_items(criterion.payload) or prompts is None:
            return replies
        return round(replies * fmean(len(items_of(json.loads(fields))) for fields in prompts["fields"]))

    def generations(self) -> RoundCounts | None:
        """The work of the node's round; None where the round is sampled at once."""
        shared, how = self.campaign.generations, self.campaign.rollouts
        if shared is None:
            return None
        total = shared.count * shared.prompts * how.group_size
        steps = shared.count * shared.steps * self.campaign.training.epochs
        kept = self.kept_of_round
        if kept is None:
            return RoundCounts(total, 0, 0, steps, 0)
        judged = len(list(kept.glob(SCORES.format("*")))) * shared.prompts * how.group_size
        judged, waiting = min(judged, total), sum(map(self._waiting, kept.glob(SAMPLING.format("*"))))
        training = self.campaign.training.from_folder(self.campaign.folder)
        return RoundCounts(total, judged, min(waiting, total - judged), steps, min(steps_done(kept, training), steps))

    def refilled(self) -> int:
        """The most rollouts that a round in generations adds, in place of groups without variance."""
        shared, how = self.campaign.generations, self.campaign.rollouts
        return 0 if shared is None else shared.count * how.refill * how.group_size

    def _waiting(self, sampled: Path) -> int:
        """The rollouts of a generation in this file of the round's state; 0 if they are judged."""
        described = json.loads(sampled.read_text(encoding="utf-8"))
        prompts, how = self.prompts("train"), self.campaign.rollouts
        if prompts is None or (sampled.parent / SCORES.format(described["generation"])).is_file():
            return 0
        theirs = prompts.filter(pl.col("prompt_id").is_in(described["prompts"]))
        return self.stored(theirs, described["policy"], how.group_size, how.sampling)[0].height

    def eval_prompts(self) -> int:
        """The number of held-out prompts in the last run."""
        record = RecordStore(self.home.store).current(f"{self.campaign.name}/prompts")
        return 0 if record is None else record.rows["eval"]

    def content(self, role: str) -> str | None:
        return self.known[role].content_hash if role in self.known else None

    def audited(self, replies: pl.DataFrame, criterion: Criterion, judge_sets: Sequence[Mapping[str, str]]) -> None:
        """Count the judgements of replies with an `id` by one criterion, once for each set of judges."""
        seen = Subjects([as_rollout(row) for row in replies.iter_rows(named=True)])
        for each in criterion.singles:
            for judges in {judge_of(each, judges): judges for judges in judge_sets}.values():
                wanted = judgement_addresses(replies["id"].to_list(), seen, each, judges)
                self._missing(each, wanted.unique("judgement_id", maintain_order=True), judges)

    def _missing(self, criterion: Criterion, wanted: pl.DataFrame, judges: Mapping[str, str]) -> None:
        narrow = judged_by(criterion.question, judge_of(criterion, judges))
        missing = judgements_table(self.home.store).missing(wanted, *narrow).height
        self.work.add(judgements_of(criterion.name), missing, wanted.height - missing)

    def sampled(
        self,
        prompts: pl.DataFrame | None,
        expected: int,
        policy: str | None,
        count: int,
        sampling: Sampling,
    ) -> tuple[pl.DataFrame | None, int]:
        """Count the rollouts of one policy (a content hash); returns those that exist, and how many are missing.

        `expected` is the number of prompts if they are not known; then no existing rollouts are returned.
        """
        if prompts is None or policy is None:
            missing = (expected if prompts is None else prompts.height) * count
            self.work.add("rollouts", missing)
            return None, missing
        rows, missing = self.stored(prompts, policy, count, sampling)
        self.work.add("rollouts", missing, rows.height)
        return rows, missing

    def stored(self, prompts: pl.DataFrame, policy: str, count: int, sampling: Sampling) -> tuple[pl.DataFrame, int]:
        """The rollouts of one policy that exist, and how many are missing."""
        how = self.campaign.policy
        sampled = sampling_fingerprint(sampling, how.system, self.campaign.seed, how.system_in, how.thinking)
        wanted = rollout_addresses(prompts, policy, sampled, count)
        rows = rollouts_table(self.home.store).read(wanted, pl.col("policy") == policy)
        return rows, wanted.height - rows.height

    def judged(
        self,
        criteria: Sequence[Criterion],
        rollouts: pl.DataFrame | None,
        unknown: int,
        prompts: pl.DataFrame | None = None,
    ) -> None:
        """Count the judgements of rollouts that exist, and of `unknown` more to `prompts` that do not."""
        seen = None if rollouts is None else Subjects([as_rollout(row) for row in rollouts.iter_rows(named=True)])
        for criterion in criteria:
            what = judgements_of(criterion.name)
            self.work.add(what, self.judgements_of(criterion, unknown, prompts))
            if rollouts is None or seen is None:
                continue
            wanted = judgement_addresses(rollouts["rollout_id"].to_list(), seen, criterion, self.sources)
            wanted = wanted.unique("judgement_id", maintain_order=True)
            if unknown and criterion.judge.COMPARES_GROUP:
                self.work.add(what, wanted.height)  # the new rollouts change the groups
                continue
            self._missing(criterion, wanted, self.sources)
