"""The prompts of a retraining cycle: new prompts from the logs, and a share of old ones.

Prompts are considered in the order of a seeded hash, which depends only on the campaign's seed, the cycle's number and
the prompt, not on the order of files and rows.
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

CHUNK = 256
"""Minimum number of candidates that are redacted and compared together."""


@dataclass(frozen=True)
class Drawn:
    """The prompts of a cycle, and counts of the other rows of the logs."""

    rows: list[dict[str, Any]]
    """id, prompt (messages) and the other fields, redacted."""
    new: int
    """Drawn prompts that no earlier cycle found in the logs."""
    old: int
    logged: int
    """Rows in the logs."""
    opted_out: int
    """Rows that opted out."""
    unseen: frozenset[str]
    """prompt_id of all prompts that no earlier cycle found, drawn or not."""
    like_held_out: int
    """Prompts left out because they equal or nearly equal a held-out prompt."""
    redacted: dict[str, int]
    """Counts in the drawn prompts: places by kind of personal data; texts that the user's function changed."""
    sources: list[tuple[str, str]]
    """The keys of the drawn rows."""


def draw(
    logged: Iterable[Logged],
    seen: Set[str],
    held_out: pl.DataFrame,
    retrain: Retrain,
    redactor: Redactor,
    seed: int,
    cycle: int,
) -> Drawn:
    """At most `retrain.prompts` different prompts, of which a share of `old_share` is in `seen`.

    `held_out` are the eval prompts, with the columns of `reading.PROMPTS`. If there are few new prompts, fewer old ones
    are drawn to keep the share.
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
    """Selects prompts that may be used for training. It redacts only those that it considers."""

    held_out: Known
    redactor: Redactor
    taken: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the id of the redacted prompt: prompts that differ only in personal data are one."""
    like_held_out: int = 0
    redacted: Counter[str] = field(default_factory=Counter)
    sources: list[tuple[str, str]] = field(default_factory=list)

    def pick(self, candidates: list[Logged], count: int) -> int:
        """Take up to `count` candidates in order; return how many were taken."""
        before = len(self.taken)
        while candidates and (missing := before + count - len(self.taken)) > 0:
            chunk, candidates = candidates[: max(missing, CHUNK)], candidates[max(missing, CHUNK) :]
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
        """The keys of all prompts that are near a held-out prompt.

        Called before and after the redaction, because held-out prompts are not redacted.
        """
        messages = [canonical_json(prompt) for prompt in prompts.values()]
        candidates = pl.DataFrame({"id": [str(place) for place in prompts], "messages": messages})
        return {int(pair.eval_id) for pair in self.held_out.alike(candidates)}
