"""`listwise`: ranks the replies to one prompt, which are shown in a random order and answered by id.

An id that is missing or given twice leaves its reply unscored; the others are ranked among themselves.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from rft_pipeline.engines import Asker, ChatReply
from rft_pipeline.engines.base import Messages
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.judges.answers import UnreadableError, as_text, own_object
from rft_pipeline.judges.asking import AskingSettings, filled, no_answer, schema_of, shown_to, why_unread, with_usage
from rft_pipeline.judges.base import Judge, Judgement, failed, scored, unscored
from rft_pipeline.judges.comparing import Comparing
from rft_pipeline.judges.settings import Engines
from rft_pipeline.judges.untrusted import fenced
from rft_pipeline.rules import Rollout


class ListwiseJudge(AskingSettings):
    """Ranks the replies to one prompt, shuffled; a reply's score is the share of the others it beats."""

    VERSION = 4
    COMPARES_GROUP = True
    TEMPLATE = "listwise.txt"
    SLOTS = frozenset({"prompt", "replies", "question"})

    protocol: Literal["listwise"]
    answer: Literal["json"] = "json"

    def make(self, engines: Engines) -> Judge:
        return Listwise(self, engines.asker(self.by))


class Listwise(Comparing):
    """The share of the other replies that a reply is ranked above."""

    def __init__(self, config: ListwiseJudge, asker: Asker) -> None:
        super().__init__(asker, config.max_tokens, config.shown_columns)
        self.config = config
        self.schema = schema_of(ranking={"type": "array", "items": {"type": "string"}})

    def questions(self, group: Sequence[Rollout]) -> list[Messages]:
        ids = _ids(group)
        own = self.asker.control_tokens
        shown = "\n\n".join(
            f"{name}:\n{fenced(rollout.completion, self.config.max_chars, own)}"
            for name, rollout in zip(ids, group, strict=True)
        )
        return [filled(self.config, group[0], {"replies": shown, "answer": _example(ids)}, own)]

    def beaten(self, group: Sequence[Rollout], replies: Sequence[ChatReply]) -> list[Judgement]:
        (reply,) = replies
        if reply.error:
            return [failed(reply.error) for _ in group]
        ids = _ids(group)
        try:
            found = self._ranking(group, ids, reply)
        except UnreadableError as error:
            judgement = unscored(reply.text, why_unread(error, reply))
            return [with_usage(judgement, reply, shared_by=len(group))] * len(group)
        ranking = found["ranking"]
        times = Counter(name for name in ranking if isinstance(name, str))
        ranked = [name for name in ranking if isinstance(name, str) and name in ids and times[name] == 1]
        judgements = []
        for shown_at, name in enumerate(ids):
            if name not in ranked:
                times_in_words = "is missing from" if not times[name] else f"is {times[name]} times in"
                judgement = unscored(reply.text, f"its id {name} {times_in_words} the ranking")
            elif len(ranked) == 1:
                judgement = unscored(reply.text, "no other reply was ranked")
            else:
                place = ranked.index(name)
                share = 1 - place / (len(ranked) - 1)
                reason = f"{name} is {place + 1} of {len(ranked)}. {as_text(found.get('reason'))}".strip()
                judgement = scored(share, reply.text, reason, details={"shown_at": shown_at})
            judgements.append(with_usage(judgement, reply, shared_by=len(group)))
        return judgements

    def _ranking(self, group: Sequence[Rollout], ids: list[str], reply: ChatReply) -> dict[str, Any]:
        if why := no_answer(reply):
            raise UnreadableError(why)
        shown = [*shown_to(self.config, *group), _example(ids)]
        found = own_object(reply.text, ("reason", "ranking"), shown, cut=reply.cut_at > 0)
        if not isinstance(found["ranking"], list):
            raise UnreadableError("its ranking is not a list")
        return found


def _example(ids: list[str]) -> str:
    return json.dumps({"reason": "...", "ranking": sorted(ids)})


def _ids(group: Sequence[Rollout]) -> list[str]:
    """One id for each reply. It says nothing about the reply's quality, and its author cannot guess it."""
    named = fingerprint([[rollout.asked, rollout.completion] for rollout in group])
    return [f"R{fingerprint([named, place])[:4].upper()}{place}" for place in range(len(group))]
