"""`checklist`: the rubric in the prompt's own row, one yes/no question an item.

The column `rubric` is a list of items, each with a `criterion`, `points` and optionally `tags`. An item with negative
points describes something that a reply should not do. Each item of each reply is judged and stored on its own, so an
edited item is the only one that is judged again. The score is points earned over positive points, clipped to [0, 1]
(HealthBench, arXiv 2505.08775; Rubrics as Rewards, arXiv 2507.17746).
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from rft_pipeline.engines.base import Messages
from rft_pipeline.judges.asking import AskingSettings, filled
from rft_pipeline.judges.base import Judge, Judgement, Opinion, Status, scored, unscored, with_usage_of
from rft_pipeline.judges.binary import Binary
from rft_pipeline.judges.settings import Engines, Scores
from rft_pipeline.judges.untrusted import defused, fenced
from rft_pipeline.rules import Rollout

RUBRIC = "rubric"
"""The prompt column with the items."""


class Item(NamedTuple):
    """One item of a prompt's rubric."""

    criterion: str
    points: float
    """Below 0 for something that a reply should not do."""
    tags: tuple[str, ...] = ()
    """Its themes, for the report."""


class ChecklistJudge(AskingSettings):
    """A yes/no question for each item of the prompt's own rubric: points earned over positive points, in [0, 1].

    The items are judged as a criterion of their own, so this makes no judge.
    """

    VERSION = 1
    WORDING: ClassVar[Mapping[str, str]] = {}
    TEMPLATE = "checklist.txt"
    SLOTS = frozenset({"prompt", "reply", "criterion", "question", "answer"})

    protocol: Literal["checklist"]
    question: str = Field(default="Does the reply meet this criterion?", min_length=1)

    @property
    def payload(self) -> dict[str, Any]:
        judge = {"protocol": self.protocol, "members": [self.items.payload]}
        return {"protocol_version": self.VERSION, "judge": judge}

    @property
    def items(self) -> "ItemJudge":
        """The judge of single items."""
        return ItemJudge.model_construct(**{name: getattr(self, name) for name in type(self).model_fields})

    @classmethod
    def reads_in(cls, judge: Mapping[str, Any]) -> list[str] | None:
        return sorted({*cls.shown_in(judge), RUBRIC})

    @property
    def asks(self) -> str:
        return "Does the reply meet the rubric of its prompt?"

    def scores(self, served: Collection[str]) -> Scores:
        return Scores.INSIDE if self.reads_logprobs(served) else Scores.ANY


class ItemJudge(ChecklistJudge):
    """The same settings for single items."""

    @property
    def payload(self) -> dict[str, Any]:
        return {"protocol_version": self.VERSION, "judge": self.identity}

    def make(self, engines: Engines) -> Judge:
        return _Items(self, engines.asker(self.by))


class _Items(Binary):
    """Whether a reply meets the item of its view."""

    def messages(self, rollout: Rollout) -> Messages:
        own = self.asker.control_tokens
        reply = fenced(rollout.completion, self.config.max_chars, own)
        values = {"reply": reply, "criterion": defused(rollout.item, own), "answer": self.how}
        return filled(self.config, rollout, values, own)


def judges_items(payload: Mapping[str, Any]) -> bool:
    """Whether a criterion, as its fingerprint is made from it, judges single items."""
    return payload["judge"]["protocol"] == "checklist" and not sums_items(payload)


def sums_items(payload: Mapping[str, Any]) -> bool:
    """Whether a criterion's score is the sum over the items of a rubric."""
    return payload["judge"]["protocol"] == "checklist" and "members" in payload["judge"]


def items_of(fields: Mapping[str, Any]) -> tuple[Item, ...]:
    """The items in a prompt's columns; none if they have a fault."""
    rubric = fields.get(RUBRIC)
    if any(rubric_faults(rubric)):
        return ()
    return tuple(Item(each["criterion"], each["points"], tuple(each.get("tags") or ())) for each in rubric or ())


def rubric_faults(rubric: Any) -> Iterator[str]:
    """What is wrong with the value of the column `rubric`, each with its key."""
    if not isinstance(rubric, list) or not rubric:
        is_ = "is missing" if rubric is None else f"is {_shown(rubric)}"
        yield f"{RUBRIC}: {is_}; a checklist needs a list of items with `criterion` and `points`"
        return
    for place, item in enumerate(rubric):
        yield from (f"{RUBRIC}[{place}]{fault}" for fault in _item_faults(item))
    if not any(isinstance(item, dict) and _is_number(item.get("points")) and item["points"] > 0 for item in rubric):
        yield f"{RUBRIC}: no item has points above 0, so no reply could earn any"


def _item_faults(item: Any) -> Iterator[str]:
    if not isinstance(item, dict):
        yield f": must be an object with `criterion` and `points`, is {_shown(item)}"
        return
    criterion, tags = item.get("criterion"), item.get("tags")
    if not isinstance(criterion, str) or not criterion.strip():
        yield f".criterion: must be a text that is not empty, is {_shown(criterion)}"
    if not _is_number(item.get("points")):
        yield f".points: must be a number, is {_shown(item.get('points'))}"
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        yield f".tags: must be a list of texts, is {_shown(tags)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)[:60]


def points(items: Sequence[Item], opinions: Sequence[Opinion]) -> Judgement:
    """Points earned over positive points, clipped to [0, 1]; `raw` is a JSON list with each item's score.

    An item's points are earned in the share of its score: p(yes) where the judge gives log-probs, else all or nothing.
    Without a score if any item has none: without that item the reply would be measured by other points than the rest
    of its group, and a reply that makes an item unreadable would avoid its penalty.
    """
    if not items:
        return unscored("", f"the prompt has no column `{RUBRIC}` with items that can be judged")
    raw = json.dumps([opinion.score for opinion in opinions])
    without = [place for place, opinion in enumerate(opinions, start=1) if opinion.score is None]
    if without:
        statuses = {opinion.status for opinion in opinions}
        status = Status.FAILED if Status.FAILED in statuses else Status.UNSCORED
        found = Judgement(None, status, raw, f"no score for item {', '.join(map(str, without))} of {len(items)}")
    else:
        earned = sum(item.points * (each.score or 0.0) for item, each in zip(items, opinions, strict=True))
        possible = sum(item.points for item in items if item.points > 0)
        found = scored(min(1.0, max(0.0, earned / possible)), raw, f"{earned:.4g} of {possible:.4g} points")
    return with_usage_of(opinions, found)
