"""`binary`: a yes/no question, answered by the log-probs of the first answer token or by a JSON verdict."""

from collections.abc import Collection
from typing import Literal

from rft_pipeline.engines import Asker, ChatReply
from rft_pipeline.engines.base import Messages
from rft_pipeline.judges.answers import UnreadableError, as_text, own_object, own_word
from rft_pipeline.judges.asking import AskingSettings, SingleAsking, schema_of, shown_to
from rft_pipeline.judges.base import Judge, Judgement, scored
from rft_pipeline.judges.settings import Engines, Scores
from rft_pipeline.judges.squash import Squash
from rft_pipeline.rules import Rollout

YES, NO = "Yes", "No"
_NATS = Squash(offset=0, scale=1)
"""p(yes) / (p(yes) + p(no)) is the sigmoid of the log-odds."""


class BinaryJudge(AskingSettings):
    """A yes/no question about the reply: p(yes) / (p(yes) + p(no)), or the verdict of a JSON answer."""

    VERSION = 4
    TEMPLATE = "binary.txt"
    SLOTS = frozenset({"prompt", "reply", "question", "answer"})

    protocol: Literal["binary"]

    def make(self, engines: Engines) -> Judge:
        return Binary(self, engines.asker(self.by))

    def scores(self, served: Collection[str]) -> Scores:
        return Scores.INSIDE if self.reads_logprobs(served) else Scores.ENDS


class Binary(SingleAsking):
    """p(yes) / (p(yes) + p(no)); without log-probs 1 or 0."""

    def __init__(self, config: AskingSettings, asker: Asker) -> None:
        super().__init__(asker, config.max_tokens)
        self.config = config
        if config.answer == "json":
            self.schema = schema_of(verdict={"type": "string", "enum": ["yes", "no"]})
            self.how = 'Answer with one JSON object: {"reason": "...", "verdict": "yes" or "no"}.'
        else:
            self.words = (YES, NO)
            self.how = "Answer Yes or No."

    def messages(self, rollout: Rollout) -> Messages:
        return self.asked_of(rollout, self.config, self.how)

    def read(self, rollout: Rollout, reply: ChatReply) -> Judgement:
        shown = shown_to(self.config, rollout)
        if self.config.answer == "json":
            return self._of_json(reply, shown)
        if reply.words is not None:
            yes, no = reply.words[YES], reply.words[NO]
            return scored(_NATS.score(yes - no), f"yes {yes:.3f}, no {no:.3f} nats", "")
        return scored(float(own_word(reply.text, (YES, NO), shown) == YES), reply.text, "")

    def _of_json(self, reply: ChatReply, shown: tuple[str, ...]) -> Judgement:
        found = own_object(reply.text, ("reason", "verdict"), shown, cut=reply.cut_at > 0)
        verdict = as_text(found["verdict"]).lower()
        if verdict not in ("yes", "no"):
            raise UnreadableError("its verdict is neither yes nor no")
        return scored(float(verdict == "yes"), reply.text, as_text(found.get("reason")))
