"""People's preferences between two policies, counted from their answers to blind pairs.

The unit is the held-out prompt: the answers of several people to one pair are one vote. Ties are counted and decide
nothing; the share is over the decided pairs, with Wilson's interval (1927). p is that of the two-sided sign test.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.pairs import LEFT, TIE, pair_exports_of
from rft_pipeline.labels.policies import PolicyReplies, policies
from rft_pipeline.stats import Interval, plain
from rft_pipeline.store import Home, preferences_table

PREFERENCES = "labels.preferences"
"""Name of the source with people's answers to blind pairs."""


@dataclass(frozen=True)
class Preference:
    """How often people preferred one policy's replies to another's, one vote a held-out prompt."""

    policy: str
    """Name of the policy whose wins are counted."""
    over: str
    wins: int
    ties: int
    losses: int
    share: Interval
    """Wins among decided pairs, with a 95 % interval; NaN if none is decided."""
    p: float
    """Of the two-sided sign test: the probability of a share at least as far from 50 % if people prefer neither."""
    annotators: int

    @property
    def decided(self) -> int:
        return self.wins + self.losses

    @property
    def said(self) -> str:
        """In words, e.g. `people preferred round 1 over base in 27 of 35 decided pairs (77 %, 61 to 88), 8 ties`."""
        ties = f"{self.ties} {'tie' if self.ties == 1 else 'ties'}"
        if not self.decided:
            return f"people preferred neither {self.policy} nor {self.over}: {ties}"
        share, lower, upper = (f"{100 * each:.0f}" for each in self.share)
        return (
            f"people preferred {self.policy} over {self.over} in {self.wins} of {self.decided} decided pairs "
            f"({share} %, {lower} to {upper}), {ties}"
        )

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        names = ("policy", "over", "wins", "ties", "losses", "decided", "share", "p", "annotators", "said")
        return {name: plain(getattr(self, name)) for name in names}


def votes_of(campaign: str, store: Path) -> pl.DataFrame:
    """People's answers to a campaign's pairs of held-out prompts, ordered by id, with the columns of the table."""
    batches = [export.id for export in pair_exports_of(campaign, store, held_out=True)]
    return preferences_table(store).rows(pl.col("batch").is_in(batches)).collect().sort("preference_id")


def preferences_source(campaign: str, store: Path) -> str | None:
    """A hash of people's answers, without notes and times; None without answers."""
    votes = votes_of(campaign, store)
    return None if votes.is_empty() else fingerprint(votes.select("preference_id", "left", "right", "preferred").rows())


@dataclass(frozen=True)
class Preferences:
    """What people prefer among the policies of the newest eval report and the champion."""

    found: tuple[Preference, ...]
    others: int
    """Number of answers to pairs of other replies."""


def current_preferences(campaign: Campaign, home: Home) -> Preferences:
    """The preferences that count now."""
    votes, known = votes_of(campaign.name, home.store), policies(campaign, home).values()
    ids = pl.Series([each for side in known for each in side.rows["rollout_id"]], dtype=pl.String).implode()
    here = pl.col("left").is_in(ids) & pl.col("right").is_in(ids)
    return Preferences(tuple(preferences(known, votes)), votes.filter(~here).height)


def preferences(compared: Collection[PolicyReplies], votes: pl.DataFrame) -> list[Preference]:
    """The preferences between any two of these policies that people compared; a later policy over an earlier one."""
    by_weights: dict[str, PolicyReplies] = {}
    for each in compared:
        by_weights.setdefault(each.policy, each)
    pairs = combinations(by_weights.values(), 2)
    found = (preference(tuned.name, tuned.rows, start.name, start.rows, votes) for start, tuned in pairs)
    return [each for each in found if each is not None]


def preference(
    policy: str, our_rows: pl.DataFrame, over: str, their_rows: pl.DataFrame, votes: pl.DataFrame
) -> Preference | None:
    """How often people preferred our replies (`rollout_id`) to theirs; None without answers.

    Only answers to pairs of exactly these replies count.
    """
    our_ids, their_ids = (rows["rollout_id"].implode() for rows in (our_rows, their_rows))
    is_left = pl.col("left").is_in(our_ids) & pl.col("right").is_in(their_ids)
    is_right = pl.col("right").is_in(our_ids) & pl.col("left").is_in(their_ids)
    own = votes.filter(is_left | is_right).with_columns(is_left.alias("is_left"))
    if own.is_empty():
        return None
    sign = pl.when(pl.col("preferred") == TIE).then(0).when((pl.col("preferred") == LEFT) == pl.col("is_left")).then(1)
    by_prompt = own.group_by("prompt_id").agg(sign.otherwise(-1).alias("signs"))
    counts = Counter(majority(signs) for signs in by_prompt["signs"].to_list())
    return counted(policy, over, counts, own["annotator"].n_unique())


def counted(policy: str, over: str, counts: Mapping[int, int], annotators: int) -> Preference:
    """From the numbers of wins (1), ties (0) and losses (−1)."""
    from scipy.stats import binomtest

    wins, ties, losses = (counts.get(sign, 0) for sign in (1, 0, -1))
    if not wins + losses:
        return Preference(policy, over, 0, ties, 0, Interval(float("nan")), 1.0, annotators)
    test = binomtest(wins, wins + losses)
    wilson = test.proportion_ci(method="wilson")
    share = Interval(wins / (wins + losses), float(wilson.low), float(wilson.high))
    return Preference(policy, over, wins, ties, losses, share, float(test.pvalue), annotators)


def majority(signs: list[int]) -> int:
    """The answer that most people gave; a tie where no answer has most."""
    (first, most), *others = Counter(signs).most_common(2)
    return 0 if others and others[0][1] == most else first
