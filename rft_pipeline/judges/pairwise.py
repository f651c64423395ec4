"""`pairwise`: which of two replies is better, in both orders; an answer that flips with the order is a tie."""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from rft_pipeline.engines import Asker, ChatReply
from rft_pipeline.engines.base import Messages
from rft_pipeline.judges.answers import UnreadableError, as_text, own_object, own_word
from rft_pipeline.judges.asking import AskingSettings, filled, no_answer, schema_of, shown_to, why_unread, with_usage
from rft_pipeline.judges.base import Judge, Judgement, failed, scored, unscored
from rft_pipeline.judges.comparing import Comparing
from rft_pipeline.judges.settings import Engines
from rft_pipeline.judges.untrusted import fenced
from rft_pipeline.rules import Rollout

FIRST, SECOND, TIE = "A", "B", "tie"
_POINTS = {FIRST: 1.0, SECOND: -1.0, TIE: 0.0}


def _by_order(orders: list[tuple[float, float]]) -> dict[str, int]:
    """Of a reply's pairs: how many there are, how many changed their winner with the order, and how often the reply
    that was shown first won, or the one shown second."""
    first, second = (sum(points == side for pair in orders for points in pair) for side in (1, -1))
    changed = sum(one != -other for one, other in orders)
    return {"pairs": len(orders), "changed": changed, "first_won": first, "second_won": second}


class PairwiseJudge(AskingSettings):
    """Which of two replies is better, asked in both orders: an answer that flips is a tie.

    A reply's score is the mean over its opponents: 1 won, 0.5 tied, 0 lost.
    """

    VERSION = 4
    COMPARES_GROUP = True
    TEMPLATE = "pairwise.txt"
    SLOTS = frozenset({"prompt", "first", "second", "question", "answer"})

    protocol: Literal["pairwise"]
    opponents: int = Field(default=4, ge=2)
    """Other replies to the same prompt that each is compared with, an odd number rounded up; all when there are no
    more."""

    def make(self, engines: Engines) -> Judge:
        return Pairwise(self, engines.asker(self.by))


class Pairwise(Comparing):
    """The mean over a reply's opponents: 1 won, 0.5 tied, 0 lost."""

    def __init__(self, config: PairwiseJudge, asker: Asker) -> None:
        super().__init__(asker, config.max_tokens, config.shown_columns)
        self.config = config
        if config.answer == "json":
            self.schema = schema_of(better={"type": "string", "enum": [FIRST, SECOND, TIE]})
            self.how = 'Answer with one JSON object: {"reason": "...", "better": "A" or "B" or "tie"}.'
        else:
            self.words = (FIRST, SECOND)
            self.how = "Answer A or B."

    def questions(self, group: Sequence[Rollout]) -> list[Messages]:
        return [self._messages(group[i], group[j]) for i, j in self._orders(len(group))]

    def beaten(self, group: Sequence[Rollout], replies: Sequence[ChatReply]) -> list[Judgement]:
        won: list[list[float]] = [[] for _ in group]
        orders_of: list[list[tuple[float, float]]] = [[] for _ in group]
        seen: list[list[ChatReply]] = [[] for _ in group]
        raw: list[list[str]] = [[] for _ in group]
        unread: list[list[str]] = [[] for _ in group]
        orders = list(self._orders(len(group)))
        for number in range(0, len(replies), 2):
            (i, j), pair = orders[number], replies[number : number + 2]
            for place, opponent in ((i, j), (j, i)):
                seen[place] += pair
                raw[place].append(f"against {opponent + 1}: " + " / ".join(reply.text for reply in pair))
            shown = shown_to(self.config, group[i], group[j])
            try:
                first, second = (self._read(reply, shown) for reply in pair)
            except UnreadableError as error:
                unread[i].append(str(error))
                unread[j].append(str(error))
                continue
            for place, sign in ((i, 1), (j, -1)):
                mine = (first - second) * sign  # the second question shows them the other way round
                won[place].append(0.5 + 0.5 * ((mine > 1) - (mine < -1)))
                orders_of[place].append((first, second))
        return [self._judge(*each) for each in zip(won, orders_of, seen, raw, unread, strict=True)]

    def _judge(
        self,
        won: list[float],
        orders: list[tuple[float, float]],
        seen: list[ChatReply],
        raw: list[str],
        unread: list[str],
    ) -> Judgement:
        if errors := [reply.error for reply in seen if reply.error]:
            return failed(errors[0])
        answers = "\n".join(raw)
        if unread:
            why = f"{len(unread)} comparisons could not be read: {unread[0]}"
            return with_usage(unscored(answers, why), *seen, shared_by=2)
        tied, by_order = sum(each == 0.5 for each in won), _by_order(orders)
        reason = (
            f"won {sum(each == 1 for each in won)}, tied {tied}, of {len(won)}; {by_order['changed']} changed with the "
            f"order; the reply shown first won {by_order['first_won']} times, the second {by_order['second_won']} times"
        )
        return with_usage(scored(sum(won) / len(won), answers, reason, details=by_order), *seen, shared_by=2)

    def _read(self, reply: ChatReply, shown: Sequence[str]) -> float:
        try:
            return self._points(reply, shown)
        except UnreadableError as error:
            raise UnreadableError(why_unread(error, reply)) from error

    def _points(self, reply: ChatReply, shown: Sequence[str]) -> float:
        """1 if the reply shown first is better, −1 if the other is, 0 for a tie. Raises `UnreadableError`."""
        if why := reply.error or no_answer(reply):
            raise UnreadableError(why)
        if self.config.answer == "json":
            found = own_object(reply.text, ("reason", "better"), shown, cut=reply.cut_at > 0)
            better = as_text(found["better"])
        elif reply.words is not None:
            first, second = reply.words[FIRST], reply.words[SECOND]
            return float((first > second) - (first < second))
        else:
            better = own_word(reply.text, (FIRST, SECOND), shown, cased=True)
        if better not in _POINTS:
            raise UnreadableError("its verdict is not one of A, B and tie")
        return _POINTS[better]

    def _messages(self, first: Rollout, second: Rollout) -> Messages:
        own = self.asker.control_tokens
        values = {
            "first": fenced(first.completion, self.config.max_chars, own),
            "second": fenced(second.completion, self.config.max_chars, own),
            "answer": self.how,
        }
        return filled(self.config, first, values, own)

    def _orders(self, count: int) -> Iterator[tuple[int, int]]:
        """Each pair in both orders, one after the other: on a circle of replies, each meets its nearest neighbours."""
        reach = min(self.config.opponents, count - 1)
        pairs = {
            tuple(sorted((i, (i + step) % count))) for i in range(count) for step in range(1, (reach + 1) // 2 + 1)
        }
        for i, j in sorted(pairs):
            yield i, j
            yield j, i
