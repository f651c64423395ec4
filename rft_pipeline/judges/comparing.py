"""What the protocols that compare share: the replies to one prompt are judged together."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rft_pipeline.engines import Asker, ChatReply
from rft_pipeline.engines.base import Messages
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.judges.asking import request
from rft_pipeline.judges.base import Judged, Judgement, empty_reply, is_empty, scored
from rft_pipeline.rules import Rollout


class Comparing:
    """A judge of groups. An empty reply loses against any other and is never shown."""

    words: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    reversed = False
    """Whether groups are shown in the opposite order."""

    def __init__(self, asker: Asker, max_tokens: int, columns: Sequence[str]) -> None:
        """`columns` of the prompts are shown: replies to prompts that differ in one are not compared."""
        self.asker = asker
        self.max_tokens = max_tokens
        self.columns = columns

    def questions(self, group: Sequence[Rollout]) -> list[Messages]:
        """What is asked about a group of at least two different replies."""
        raise NotImplementedError

    def beaten(self, group: Sequence[Rollout], replies: Sequence[ChatReply]) -> list[Judgement]:
        """For each reply of the group the share of the others that it beats, from the answers to `questions`."""
        raise NotImplementedError

    def score(self, rollouts: Sequence[Rollout]) -> Iterator[Judged]:
        requests, waiting = [], {}
        for name, places in enumerate(_groups(rollouts, self.columns)):
            not_empty = (place for place in places if not is_empty(rollouts[place]))
            shown = sorted(not_empty, key=_shuffled(rollouts), reverse=self.reversed)
            asked = self.questions([rollouts[place] for place in shown]) if len(shown) > 1 else []
            if not asked:
                yield [(place, _alone(rollouts[place], len(places))) for place in places]
                continue
            requests += [
                request(f"{name}.{number}", messages, self.max_tokens, self.words, self.schema)
                for number, messages in enumerate(asked)
            ]
            waiting[str(name)] = (places, shown, [None] * len(asked))
        yield from self._answered(rollouts, requests, waiting)

    def _answered(self, rollouts: Sequence[Rollout], requests: list[Any], waiting: dict[str, Any]) -> Iterator[Judged]:
        """The judgements of each group, as soon as all its questions are answered."""
        for reply in self.asker.ask(requests):
            name, _, number = reply.request_id.partition(".")
            places, shown, replies = waiting[name]
            replies[int(number)] = reply
            if None in replies:
                continue
            del waiting[name]
            found = dict(zip(shown, self.beaten([rollouts[place] for place in shown], replies), strict=True))
            empty = len(places) - len(shown)
            yield [
                (place, _with_empty(found[place], len(shown), empty) if place in found else empty_reply())
                for place in places
            ]


def _groups(rollouts: Sequence[Rollout], columns: Sequence[str]) -> list[list[int]]:
    """The indices of rollouts, grouped by prompt."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, rollout in enumerate(rollouts):
        groups[rollout.group(columns)].append(place)
    return list(groups.values())


def _shuffled(rollouts: Sequence[Rollout]) -> Any:
    """A sort key that depends on the texts alone: not on who wrote them, nor on the campaign."""
    return lambda place: seed_of(0, "shown to the judge", rollouts[place].asked, rollouts[place].completion)


def _alone(rollout: Rollout, group: int) -> Judgement:
    """The judgement of a reply that has no other, or only empty ones, to be compared with."""
    if is_empty(rollout):
        return empty_reply()
    return scored(1.0, "", "all others are empty") if group > 1 else scored(0.5, "", "nothing to compare it with")


def _with_empty(judgement: Judgement, shown: int, empty: int) -> Judgement:
    """A reply also beats every empty one."""
    if judgement.score is None or not empty:
        return judgement
    share = (judgement.score * (shown - 1) + empty) / (shown - 1 + empty)
    return replace(judgement, score=share)
