"""The prompts of a cycle: what is new in the logs, and a share of what is old.

The order in which prompts are considered is that of a seeded hash of each, so that it follows from the campaign's seed,
the cycle's number and the prompts alone, not from files or rows.
"""

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from rft_pipeline.campaign import Retrain
from rft_pipeline.fingerprint import canonical_json, fingerprint, seed_of
from rft_pipeline.prompts.logs import Logged
from rft_pipeline.prompts.overlap import Known
from rft_pipeline.prompts.redaction import Redactor

AT_ONCE = 256
"""Prompts looked at together, or as many as are missing where these are more."""


@dataclass(frozen=True)
class Drawn:
    """The prompts of a cycle, and what became of the logs' other rows."""

    rows: list[dict[str, Any]]
    """id, prompt (messages) and further fields, redacted."""
    new: int
    """Of the drawn prompts, those that no earlier cycle found in the logs."""
    old: int
    logged: int
    """Rows in the logs."""
    opted_out: int
    """Rows nobody may train on."""
    unseen: frozenset[str]
    """prompt_id of all prompts that no earlier cycle found, drawn or not."""
    like_held_out: int
    """Prompts left out because they are equal, or nearly, to a held-out prompt."""
    redacted: dict[str, int]
    """In the drawn prompts: kind of personal data → places; the user's function → texts it changed."""
    sources: list[tuple[str, str]]
    """The keys of the rows that the drawn prompts come from."""


def draw(
    logged: Iterable[Logged],
    seen: Set[str],
    held_out: pl.DataFrame,
    retrain: Retrain,
    redactor: Redactor,
    seed: int,
    cycle: int,
) -> Drawn:
    """At most `retrain.prompts` different prompts: those not in `seen`, and as `old_share` of all some that are.

    `held_out` are the eval prompts, in the columns of `stages.prompts.PROMPTS`. Where there is less new than would fill
    a cycle, the share of old ones is kept by drawing fewer of them.
    """
    every = list(logged)
    allowed = {each.prompt_id: each for each in reversed(every) if not each.opted_out}
    ranked = sorted(allowed, key=lambda prompt_id: (seed_of(seed, "cycle prompts", cycle, prompt_id), prompt_id))
    fresh = [prompt_id for prompt_id in ranked if prompt_id not in seen]
    stale = [prompt_id for prompt_id in ranked if prompt_id in seen]
    reserved = min(len(stale), round(retrain.prompts * retrain.old_share), retrain.prompts - 1)

    picker = _Picker(Known(held_out), redactor)
    new = picker.pick([allowed[prompt_id] for prompt_id in fresh], retrain.prompts - reserved)
    share = round(new * retrain.old_share / (1 - retrain.old_share))
    old = picker.pick([allowed[prompt_id] for prompt_id in stale], min(share, retrain.prompts - new))
    return Drawn(
        rows=list(picker.taken.values()),
        new=new,
        old=old,
        logged=len(every),
        opted_out=sum(each.opted_out for each in every),
        unseen=frozenset(fresh),
        like_held_out=picker.like_held_out,
        redacted=dict(picker.redacted),
        sources=picker.sources,
    )


@dataclass
class _Picker:
    """Takes prompts one after the other, as long as they may be trained on; only those looked at are redacted."""

    held_out: Known
    redactor: Redactor
    taken: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the id of the redacted prompt: two that differed in personal data only are one."""
    like_held_out: int = 0
    redacted: Counter[str] = field(default_factory=Counter)
    sources: list[tuple[str, str]] = field(default_factory=list)

    def pick(self, candidates: list[Logged], count: int) -> int:
        """Take up to `count` of the candidates, in order; how many were taken."""
        before = len(self.taken)
        while candidates and (missing := before + count - len(self.taken)) > 0:
            chunk, candidates = candidates[: max(missing, AT_ONCE)], candidates[max(missing, AT_ONCE) :]
            cleaned = {place: self._clean(each) for place, each in enumerate(chunk)}
            prompt_ids = {place: fingerprint(row["prompt"]) for place, (row, _) in cleaned.items()}
            other = [place for place, prompt_id in prompt_ids.items() if prompt_id not in self.taken]
            near = self._near({place: chunk[place].messages for place in other})
            near |= self._near({place: cleaned[place][0]["prompt"] for place in other if place not in near})
            for place in other:
                if len(self.taken) == before + count:
                    break
                row, found = cleaned[place]
                if place in near:
                    self.like_held_out += 1
                elif prompt_ids[place] not in self.taken:
                    self.taken[prompt_ids[place]] = row
                    self.redacted.update(found)
                    self.sources.append(chunk[place].keys)
        return len(self.taken) - before

    def _clean(self, logged: Logged) -> tuple[dict[str, Any], Counter[str]]:
        found: Counter[str] = Counter()
        messages = [{**turn, "content": self.redactor.clean(turn["content"], found)} for turn in logged.messages]
        row = {**logged.fields, "id": logged.id}
        return {**self.redactor.clean(row, found), "prompt": messages}, found

    def _near(self, prompts: dict[int, list[dict[str, str]]]) -> set[int]:
        """Places of all prompts that are like a held-out prompt.

        Asked before and after the redaction, since held-out prompts may hold what is redacted here.
        """
        messages = [canonical_json(prompt) for prompt in prompts.values()]
        asked = pl.DataFrame({"id": [str(place) for place in prompts], "messages": messages})
        return {int(pair.eval_id) for pair in self.held_out.alike(asked)}
