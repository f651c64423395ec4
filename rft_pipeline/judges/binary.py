"""`binary`: a yes/no question, answered by the log-probs of the first answer token or by a JSON verdict."""

import re

from rft_pipeline.engines import Asker, ChatReply
from rft_pipeline.engines.base import Messages
from rft_pipeline.judges.asking import SingleAsking, filled, schema_of
from rft_pipeline.judges.base import Judgement, scored, squash, unscored
from rft_pipeline.judges.untrusted import fenced
from rft_pipeline.judges.verdict import as_text, last_object
from rft_pipeline.protocols import BinaryJudge, Squash
from rft_pipeline.rules import Rollout

YES, NO = "Yes", "No"
_NATS = Squash(offset=0, scale=1)
"""p(yes) / (p(yes) + p(no)) is the sigmoid of the log-odds as they are."""
_WORD = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


class Binary(SingleAsking):
    """p(yes) / (p(yes) + p(no)); without log-probs 1 or 0."""

    def __init__(self, config: BinaryJudge, asker: Asker) -> None:
        super().__init__(asker, config.max_tokens if config.answer == "json" else 4)
        self.config = config
        if config.answer == "json":
            self.schema = schema_of(verdict={"type": "string", "enum": ["yes", "no"]})
            self.how = 'Answer with one JSON object: {"reason": "...", "verdict": "yes" or "no"}.'
        else:
            self.words = (YES, NO)
            self.how = "Answer Yes or No."

    def messages(self, rollout: Rollout) -> Messages | None:
        reply = fenced(rollout.completion, self.config.max_chars)
        values = {"reply": reply, "question": self.config.question, "answer": self.how}
        return filled(self.config, rollout, values)

    def verdict(self, reply: ChatReply) -> Judgement:
        if self.config.answer == "json":
            return self._of_json(reply.text)
        if reply.words is not None:
            yes, no = reply.words[YES], reply.words[NO]
            return scored(squash(yes - no, _NATS), f"yes {yes:.3f}, no {no:.3f} nats", "")
        if found := _WORD.match(reply.text):
            return scored(float(found[1].lower() == "yes"), reply.text, "")
        return unscored(reply.text, "neither yes nor no")

    def _of_json(self, text: str) -> Judgement:
        found = last_object(text, "verdict")
        verdict = as_text(found["verdict"]).lower() if found else ""
        if found is None or verdict not in ("yes", "no"):
            return unscored(text, "no verdict yes or no in it")
        return scored(float(verdict == "yes"), text, as_text(found.get("reason")))
