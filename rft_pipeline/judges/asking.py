"""What the protocols that ask in words share: what is shown, who is asked together, and how money is counted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rft_pipeline.addresses import REFERENCE
from rft_pipeline.engines import Asker, ChatReply, ChatRequest
from rft_pipeline.engines.base import Messages
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.judges.base import Judged, Judgement, empty_reply, failed, is_empty, unscored
from rft_pipeline.judges.template import fill
from rft_pipeline.judges.untrusted import fenced
from rft_pipeline.protocols import AskingProtocol
from rft_pipeline.rules import Rollout

NO_REFERENCE = unscored("", f"the prompt has no {REFERENCE}")


class SingleAsking:
    """A judge of one reply at a time: two hooks, build the messages and read the verdict."""

    words: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None

    def __init__(self, asker: Asker, max_tokens: int) -> None:
        self.asker = asker
        self.max_tokens = max_tokens

    def messages(self, rollout: Rollout) -> Messages | None:
        """What the judge is asked; None when it cannot be asked about this rollout."""
        raise NotImplementedError

    def verdict(self, reply: ChatReply) -> Judgement:
        """What its answer means."""
        raise NotImplementedError

    def score(self, rollouts: Sequence[Rollout]) -> Iterator[Judged]:
        requests = []
        for place, rollout in enumerate(rollouts):
            if is_empty(rollout):
                yield [(place, empty_reply())]
            elif (messages := self.messages(rollout)) is None:
                yield [(place, NO_REFERENCE)]
            else:
                requests.append(request(str(place), messages, self.max_tokens, self.words, self.schema))
        for reply in self.asker.ask(requests):
            yield [(int(reply.request_id), self._judge(reply))]

    def _judge(self, reply: ChatReply) -> Judgement:
        if reply.error:
            return failed(reply.error)
        return unscored("", reply.unanswerable) if reply.unanswerable else paid(self.verdict(reply), reply)


def request(
    name: str, messages: Messages, max_tokens: int, words: tuple[str, ...], schema: Mapping[str, Any] | None
) -> ChatRequest:
    """A request whose seed follows from what is asked."""
    seed = seed_of(0, "judge", *(text for message in messages for text in message)) % 2**31
    return ChatRequest(name, messages, seed, max_tokens, words, schema)


def paid(judgement: Judgement, *replies: ChatReply, shared_by: int = 1) -> Judgement:
    """The judgement with what its answers took, or its share of it where they served several judgements."""
    return replace(
        judgement,
        tokens=sum(reply.prompt_tokens for reply in replies) // shared_by,
        tokens_out=sum(reply.tokens for reply in replies) // shared_by,
        cost=sum(reply.cost for reply in replies) / shared_by,
    )


def filled(config: AskingProtocol, prompt: Rollout, values: Mapping[str, str]) -> Messages | None:
    """The template with the prompt, the reference and `values` in it; None when a reference is wanted and missing."""
    reference = prompt.fields.get(REFERENCE)
    if config.reference and not (isinstance(reference, str) and reference.strip()):
        return None
    shown = f"\nA good reply would be:\n{fenced(str(reference), config.max_chars)}\n" if config.reference else ""
    return fill(config.template, {"prompt": fenced(prompt.prompt, config.max_chars), "reference": shown, **values})


def schema_of(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of an answer: a reason first, so that the verdict follows from it, then `properties`."""
    every = {"reason": {"type": "string"}, **properties}
    return {"type": "object", "properties": every, "required": list(every), "additionalProperties": False}
