"""What the protocols that ask in words share: what is shown, who is asked together, and how money is counted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rft_pipeline.engines import Asker, ChatReply, ChatRequest
from rft_pipeline.engines.base import Messages
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.judges.base import Judged, Judgement, empty_reply, failed, is_empty, unscored
from rft_pipeline.judges.protocols import AskingProtocol
from rft_pipeline.judges.template import fill
from rft_pipeline.judges.untrusted import fenced
from rft_pipeline.judges.verdict import NoVerdictError
from rft_pipeline.rules import Rollout
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.rules.values import text_of

NO_REFERENCE = unscored("", f"the prompt has no {REFERENCE}")


class SingleAsking:
    """A judge of one reply at a time: two hooks, build the messages and read the verdict."""

    words: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None

    def __init__(self, asker: Asker, max_tokens: int) -> None:
        self.asker = asker
        self.max_tokens = max_tokens

    def messages(self, rollout: Rollout) -> Messages | None:
        """What the judge is asked; None without the reference it needs. Raises `NoVerdictError` if nothing can be."""
        raise NotImplementedError

    def verdict(self, rollout: Rollout, reply: ChatReply) -> Judgement:
        """What its answer means. Raises `NoVerdictError` when it cannot be read."""
        raise NotImplementedError

    def score(self, rollouts: Sequence[Rollout]) -> Iterator[Judged]:
        requests = []
        for place, rollout in enumerate(rollouts):
            if is_empty(rollout):
                yield [(place, empty_reply())]
                continue
            try:
                messages = self.messages(rollout)
            except NoVerdictError as error:
                yield [(place, unscored("", str(error)))]
                continue
            if messages is None:
                yield [(place, NO_REFERENCE)]
            else:
                requests.append(request(str(place), messages, self.max_tokens, self.words, self.schema))
        for reply in self.asker.ask(requests):
            place = int(reply.request_id)
            yield [(place, self._judge(rollouts[place], reply))]

    def _judge(self, rollout: Rollout, reply: ChatReply) -> Judgement:
        if reply.error:
            return failed(reply.error)
        try:
            judgement = unscored("", why) if (why := no_answer(reply)) else self.verdict(rollout, reply)
        except NoVerdictError as error:
            judgement = unscored(reply.text, why_unread(error, reply))
        return paid(judgement, reply)


def no_answer(reply: ChatReply) -> str:
    """Why there is nothing to read in a reply that is no error; empty when there is an answer."""
    if reply.unanswerable or reply.text.strip() or reply.words is not None or not reply.cut_at:
        return reply.unanswerable
    return (
        f"the budget of {reply.cut_at} tokens ran out before the judge had answered; a model that reasons first needs "
        "more: raise `max_tokens` of the judge in campaign.yaml, or lower its `reasoning_effort`"
    )


def why_unread(error: NoVerdictError, reply: ChatReply) -> str:
    """Why an answer could not be read, and whether its budget is to blame."""
    cut = f"; its budget of {reply.cut_at} tokens (`max_tokens`) ran out before it ended" if reply.cut_at else ""
    return f"{error}{cut if reply.text.strip() else ''}"


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


def filled(config: AskingProtocol, prompt: Rollout, values: Mapping[str, str], own: frozenset[str]) -> Messages | None:
    """The template with the prompt, the reference and `values` in it; None when a reference is wanted and missing.

    `own` holds the control tokens of the judge's tokenizer.
    """
    reference = text_of(prompt.fields.get(REFERENCE))
    if config.reference and reference is None:
        return None
    shown = f"\nA good reply would be:\n{fenced(reference or '', config.max_chars, own)}\n" if config.reference else ""
    return fill(config.template, {"prompt": _prompt(prompt, config.max_chars, own), "reference": shown, **values})


def _prompt(prompt: Rollout, max_chars: int, own: frozenset[str]) -> str:
    """The user's side between fences; after it, of a prompt that has a system turn of its own, that turn."""
    asked = fenced(prompt.prompt, max_chars, own)
    if not prompt.system:
        return asked
    return f"{asked}\n\nThe assistant had these instructions:\n{fenced(prompt.system, max_chars, own)}"


def schema_of(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of an answer: a reason first, so that the verdict follows from it, then `properties`."""
    every = {"reason": {"type": "string"}, **properties}
    return {"type": "object", "properties": every, "required": list(every), "additionalProperties": False}
