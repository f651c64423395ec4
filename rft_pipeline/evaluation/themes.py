"""The items of checklists by theme: which share of them each policy meets on held-out prompts."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from rft_pipeline.campaign.rubric import Rubric
from rft_pipeline.evaluation.compare import RoundRows
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.judges import ChecklistJudge
from rft_pipeline.judges.checklist import items_of
from rft_pipeline.stats import clustered_mean, plain

UNTAGGED = "no tag"
"""The theme of items without tags."""


class Theme(NamedTuple):
    """A tag, apart for items to meet and for items to avoid, whose points are below 0."""

    avoid: bool
    tag: str


def themes(
    rubric: Rubric, policies: Sequence[RoundRows], scores: pl.DataFrame, resamples: int, seed: int
) -> dict[str, Any]:
    """`themes`: a table for each checklist of the rubric, by its name; nothing without one. `scores` are judgements of
    the policies' replies: rollout_id, criterion, raw."""
    found = {}
    for criterion in rubric.criteria:
        if isinstance(criterion.judge, ChecklistJudge):
            raw = scores.filter(criterion=criterion.name).select("rollout_id", "raw")
            rows = {each.name: each.rows.join(raw, on="rollout_id", maintain_order="left") for each in policies}
            found[criterion.name] = met_by_theme(rows, resamples, seed)
    return {"themes": found} if found else {}


def met_by_theme(policies: Mapping[str, pl.DataFrame], resamples: int, seed: int) -> list[dict[str, Any]]:
    """A row per theme, as plain data: tag, avoid, items (different items of different prompts), and `met`: the mean
    score of these items by policy, with its interval over prompts.

    `policies` holds each policy's replies with prompt_id, fields, and `raw` of their checklist judgements. Items
    without a score are left out; an item with several tags counts for each.
    """
    items: dict[Theme, set[tuple[str, str]]] = defaultdict(set)
    scores: dict[Theme, dict[str, list[tuple[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for policy, rows in policies.items():
        for prompt, fields, raw in rows.select("prompt_id", "fields", "raw").iter_rows():
            judged = zip(items_of(json.loads(fields)), json.loads(raw or "[]"), strict=False)
            for item, score in judged:
                for tag in item.tags or (UNTAGGED,):
                    theme = Theme(item.points < 0, tag)
                    items[theme].add((prompt, item.criterion))
                    if score is not None:
                        scores[theme][policy].append((prompt, score))
    return [
        {
            "tag": theme.tag,
            "avoid": theme.avoid,
            "items": len(items[theme]),
            "met": {policy: _mean(scores[theme][policy], resamples, seed, theme, policy) for policy in policies},
        }
        for theme in sorted(items)
    ]


def _mean(found: list[tuple[str, float]], resamples: int, seed: int, theme: Theme, policy: str) -> dict[str, Any]:
    value_N, prompt_N = [score for _, score in found], [prompt for prompt, _ in found]
    named = seed_of(seed, "theme", theme.tag, str(theme.avoid), policy)
    return dict(plain(clustered_mean(value_N, prompt_N, resamples, named)))
