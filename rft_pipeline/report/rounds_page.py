"""The page of rounds: every prompt with all its replies, for reading.

Prompts and replies are untrusted text. The page holds them as JSON, in which `<`, `>`, `&` and `'` are escaped, and its
script shows them as text only. The page loads nothing, and its policy allows one script: ours, by its hash.
"""

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import polars as pl
from markupsafe import Markup

from rft_pipeline.campaign.addresses import readable_prompt
from rft_pipeline.evaluation.compare import RoundRows
from rft_pipeline.report.templates import rendered

UNSURE = (0.35, 0.65)
"""A reply is unsure if a judge's score is between these."""
DISAGREE = 0.7
"""A reply's criteria disagree if two criteria with weight are at least so far apart."""
MOST_REPLIES = 10_000
"""Training replies on a page. Rounds before the newest are left out where they would be more, so that the page stays
quick and the pages of many rounds do not grow with their square."""
GATED, TRUNCATED, IS_UNSURE, CRITERIA_DISAGREE = "gated", "truncated", "unsure", "criteria disagree"
_READ = ["who", "prompt_id", "messages", "completion", "finish_reason", "scores", "gated", "reward"]


@dataclass(frozen=True)
class Criteria:
    """What a reply's marks depend on."""

    names: Sequence[str]
    """In the rubric's order."""
    judged: Sequence[str]
    """Those with a model judge."""
    weighted: Sequence[str]
    """Those with a weight above 0."""


def render_rounds(
    compared: Sequence[RoundRows],
    baseline: str,
    batches: Mapping[int, pl.DataFrame],
    criteria: Criteria,
    title: str,
    description: str,
    ids: Mapping[str, str | None],
) -> str:
    """The page: the held-out replies of `compared`, in this order, and the training replies of each round, the newest
    first, of as many rounds as `MOST_REPLIES` allows. `batches` has the rows of each round's reward batch, `ids` the id
    of each prompt in the user's file, by prompt_id."""
    views = [held_out_view(compared, baseline, criteria)]
    shown = rounds_shown({round_: batch.height for round_, batch in batches.items()})
    views += [training_view(round_, batches[round_], criteria) for round_ in shown]
    for view in views:
        for prompt in view["prompts"]:
            prompt.append(ids.get(prompt[0]))
    script = files("rft_pipeline.report").joinpath("rounds.js").read_text(encoding="utf-8")
    return rendered(
        "rounds.html.jinja",
        title=title,
        description=description,
        views=views,
        left_out=sorted(batches.keys() - set(shown)),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        unsure=UNSURE,
        disagree=DISAGREE,
        marks=[IS_UNSURE, CRITERIA_DISAGREE, GATED, TRUNCATED],
    )


def rounds_shown(replies: Mapping[int, int]) -> list[int]:
    """The rounds whose training replies are on the page, newest first. `replies` has the number of each round's."""
    shown: list[int] = []
    for round_ in sorted(replies, reverse=True):
        if shown and sum(replies[each] for each in (*shown, round_)) > MOST_REPLIES:
            break
        shown.append(round_)
    return shown


def held_out_view(compared: Sequence[RoundRows], baseline: str, criteria: Criteria) -> dict[str, Any]:
    """All policies' replies to the held-out prompts.

    A prompt is `[prompt_id, text, replies]`, to which the page adds the user's id; a reply is
    `[policy, text, reward, null, scores, marks]`. Scores are in the order of `criteria`.
    """
    prompts: dict[str, list[Any]] = {}
    for each in compared:
        _add(prompts, each.rows.with_columns(pl.lit(each.name).alias("who")), criteria)
    return {
        "kind": "held_out",
        "title": "Held-out prompts",
        "policies": [each.name for each in compared],
        "baseline": baseline,
        "criteria": list(criteria.names),
        "prompts": list(prompts.values()),
    }


def training_view(round_: int, batch: pl.DataFrame, criteria: Criteria) -> dict[str, Any]:
    """The replies that a round trained on; like `held_out_view`, but a reply is
    `[generation, text, reward, advantage, scores, marks]`; the generation is null where a round was sampled at once."""
    prompts: dict[str, list[Any]] = {}
    generation = pl.col("generation") if "generation" in batch.columns else pl.lit(None)
    _add(prompts, batch.with_columns(generation.alias("who")), criteria, training=True)
    return {
        "kind": "training",
        "title": f"Training, round {round_}",
        "criteria": list(criteria.names),
        "prompts": list(prompts.values()),
    }


def _add(prompts: dict[str, list[Any]], rows: pl.DataFrame, criteria: Criteria, training: bool = False) -> None:
    """Add each row's reply to its prompt."""
    columns = [*_READ, *(["advantage", "excluded"] if training else [])]
    for row in rows.select(columns).iter_rows(named=True):
        if row["prompt_id"] not in prompts:
            prompts[row["prompt_id"]] = [row["prompt_id"], readable_prompt(row["messages"]), []]
        scores = {name: row["scores"].get(name) for name in criteria.names}
        reply = [
            row["who"],
            row["completion"],
            _rounded(row["reward"]),
            _rounded(row.get("advantage")),
            [_rounded(score) for score in scores.values()],
            list(_marks(row, scores, criteria)),
        ]
        prompts[row["prompt_id"]][2].append(reply)


def _marks(row: Mapping[str, Any], scores: Mapping[str, float | None], criteria: Criteria) -> Iterator[str]:
    lower, upper = UNSURE
    if any((score := scores.get(name)) is not None and lower < score < upper for name in criteria.judged):
        yield IS_UNSURE
    weighted = [score for name in criteria.weighted if (score := scores.get(name)) is not None]
    if weighted and max(weighted) - min(weighted) >= DISAGREE:
        yield CRITERIA_DISAGREE
    if row["gated"]:
        yield GATED
    if row["finish_reason"] == "length":
        yield TRUNCATED
    if row.get("excluded"):
        yield f"trains nothing: {row['excluded']}"


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)
