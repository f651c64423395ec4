"""What the protocols that ask in words share: their settings, how a reply is shown, and how usage is counted."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from rft_pipeline.engines import Asker, ChatReply, ChatRequest
from rft_pipeline.engines.base import Messages
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.judges.answers import UnreadableError
from rft_pipeline.judges.base import Judged, Judgement, empty_reply, failed, is_empty, unscored
from rft_pipeline.judges.settings import PromptJudge
from rft_pipeline.judges.untrusted import fenced
from rft_pipeline.rules import Column, Rollout
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.rules.slots import column_texts, fill
from rft_pipeline.rules.values import text_of

TEMPLATES = Path(__file__).parent / "templates"
"""The prompts of the protocols that ask in words: `PROTOCOL.txt`, and `PROTOCOL_USE.txt`, which a rubric can name."""
_REFERENCE = Column(
    "reference", REFERENCE, lambda value: text_of(value) is not None, "no text", "a text that is not empty, or a number"
)
_SYSTEM = "---\n"
"""A line of three dashes ends the system message of a template that has one."""


class AskingSettings(PromptJudge):
    """The settings of a protocol that asks in words.

    The question is put in a template: a file next to the rubric, one of `TEMPLATES`, or the protocol's own. Its content
    is part of the criterion. Template and question may show columns of the prompts.
    """

    ENGINE = "asker"
    WORDING: ClassVar[Mapping[str, str]] = {"question": "the question about a reply that the judge answers"}
    TEMPLATE: ClassVar[str]
    """The protocol's own template."""
    SLOTS: ClassVar[frozenset[str]]
    """What a template must show, in braces."""

    question: str = Field(min_length=1)
    template: str = Field(default="", validate_default=True)
    """A file next to the rubric, or one that comes with the package; once loaded, its content."""
    reference: bool = False
    """Whether the judge is shown the prompt's column `reference`, a good answer; without one there is no score."""
    answer: Literal["word", "json"] = "word"
    """`word`: one word, by its log-probs if the judge gives them. `json`: a reason, then the verdict."""
    max_tokens: int = Field(default=256, ge=8)
    """Budget of an answer that is written out: a `json` one, or the word of a served judge that reasons first."""
    max_chars: int = Field(default=16000, ge=200)
    """Of a longer text only the first and last parts are shown."""

    @field_validator("template", mode="after")
    @classmethod
    def _read(cls, name: str, info: ValidationInfo) -> str:
        path = (info.context or {}).get("folder", Path.cwd()) / name if name else TEMPLATES / cls.TEMPLATE
        shipped = sorted(each.name for each in TEMPLATES.glob(f"{Path(cls.TEMPLATE).stem}_*.txt"))
        if not path.is_file() and name in shipped:
            path = TEMPLATES / name
        if not path.is_file():
            also = f", or name {' or '.join(shipped)}" if shipped else ""
            raise ValueError(f"{path}: no such file; leave `template` out for the protocol's own{also}")
        content = path.read_text(encoding="utf-8")
        if lacking := sorted(slot for slot in cls.SLOTS if f"{{{slot}}}" not in content):
            raise ValueError(f"{path}: must hold {', '.join(f'{{{slot}}}' for slot in lacking)}")
        return content

    @property
    def asks(self) -> str:
        return self.question

    def reads_logprobs(self, served: Collection[str]) -> bool:
        """Whether answers are sure to be read by log-probs; a server may give none."""
        return self.answer == "word" and self.by not in served

    def columns(self) -> tuple[Column, ...]:
        return (_REFERENCE,) if self.reference else ()

    @classmethod
    def texts(cls) -> dict[str, frozenset[str]]:
        return {"question": frozenset(), "template": cls.SLOTS | {"answer", REFERENCE}}

    @classmethod
    def shown_in(cls, judge: Mapping[str, Any]) -> list[str]:
        found = super().shown_in(judge)
        return sorted({*found, REFERENCE}) if judge.get("reference") else found

    def conversations(self, rollout: Rollout) -> tuple[Messages, ...]:
        return (messages_of(self.template, {"prompt": rollout.prompt}),)


class SingleAsking:
    """A judge of one reply at a time, with two hooks: build the messages, and read the answer."""

    words: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None

    def __init__(self, asker: Asker, max_tokens: int) -> None:
        self.asker = asker
        self.max_tokens = max_tokens

    def messages(self, rollout: Rollout) -> Messages:
        """What the judge is asked. Raises `UnreadableError` if it cannot ask."""
        raise NotImplementedError

    def read(self, rollout: Rollout, reply: ChatReply) -> Judgement:
        """What its answer means. Raises `UnreadableError` when it cannot be read."""
        raise NotImplementedError

    def asked_of(self, rollout: Rollout, config: AskingSettings, answer: str, **texts: str) -> Messages:
        """The template with the question, the prompt, the reply, how to `answer`, and more `texts` of the settings."""
        own = self.asker.control_tokens
        reply = fenced(rollout.completion, config.max_chars, own)
        return filled(config, rollout, {"reply": reply, "answer": answer}, own, texts)

    def score(self, rollouts: Sequence[Rollout]) -> Iterator[Judged]:
        requests = []
        for place, rollout in enumerate(rollouts):
            if is_empty(rollout):
                yield [(place, empty_reply())]
                continue
            try:
                messages = self.messages(rollout)
            except UnreadableError as error:
                yield [(place, unscored("", str(error)))]
                continue
            requests.append(request(str(place), messages, self.max_tokens, self.words, self.schema))
        for reply in self.asker.ask(requests):
            place = int(reply.request_id)
            yield [(place, self._judge(rollouts[place], reply))]

    def _judge(self, rollout: Rollout, reply: ChatReply) -> Judgement:
        if reply.error:
            return failed(reply.error)
        try:
            judgement = unscored("", why) if (why := no_answer(reply)) else self.read(rollout, reply)
        except UnreadableError as error:
            judgement = unscored(reply.text, why_unread(error, reply))
        return with_usage(judgement, reply)


def no_answer(reply: ChatReply) -> str:
    """Why a reply without an error holds nothing to read; empty when there is an answer."""
    if reply.unanswerable or reply.text.strip() or reply.words is not None or not reply.cut_at:
        return reply.unanswerable
    return (
        f"the budget of {reply.cut_at} tokens ran out before the judge had answered; a model that reasons first needs "
        "more: raise `max_tokens` of the judge in campaign.yaml, or lower its `reasoning_effort`"
    )


def why_unread(error: UnreadableError, reply: ChatReply) -> str:
    """Why an answer could not be read, and whether its token budget is the cause."""
    cut = f"; its budget of {reply.cut_at} tokens (`max_tokens`) ran out before it ended" if reply.cut_at else ""
    return f"{error}{cut if reply.text.strip() else ''}"


def request(
    name: str, messages: Messages, max_tokens: int, words: tuple[str, ...], schema: Mapping[str, Any] | None
) -> ChatRequest:
    """A request with a seed that depends only on what is asked."""
    seed = seed_of(0, "judge", *(text for message in messages for text in message)) % 2**31
    return ChatRequest(name, messages, seed, max_tokens, words, schema)


def with_usage(judgement: Judgement, *replies: ChatReply, shared_by: int = 1) -> Judgement:
    """The judgement with the tokens and cost of its answers, or with its share where several judgements used them."""
    return replace(
        judgement,
        tokens=sum(reply.prompt_tokens for reply in replies) // shared_by,
        tokens_out=sum(reply.tokens for reply in replies) // shared_by,
        cost=sum(reply.cost for reply in replies) / shared_by,
    )


def messages_of(template: str, values: Mapping[str, str]) -> Messages:
    """The messages of a template, filled in one pass: what is filled in is never read as a slot."""
    system, found, user = template.partition(_SYSTEM)
    parts = (("system", system), ("user", user)) if found else (("user", system),)
    return tuple((role, fill(text, values).strip()) for role, text in parts)


def filled(
    config: AskingSettings,
    prompt: Rollout,
    values: Mapping[str, str],
    own: frozenset[str],
    texts: Mapping[str, str] | None = None,
) -> Messages:
    """The template with the question, the prompt, its columns and `values` in it.

    `texts` are more texts of the settings; as in the question, columns are filled in. `own`: the control tokens of the
    judge's tokenizer.
    """
    columns = {
        name: fenced(text, config.max_chars, own)
        for name, text in column_texts(prompt.fields, config.shown_columns).items()
    }
    said = {"question": config.question, **(texts or {})}
    said = {name: fill(_on_own_lines(text, columns), columns) for name, text in said.items()}
    reference = f"\nA good reply would be:\n{columns.get(REFERENCE, '')}\n" if config.reference else ""
    shown = {"prompt": _prompt(config.seen(prompt), config.max_chars, own), REFERENCE: reference}
    return messages_of(_on_own_lines(config.template, columns.keys() - shown), {**columns, **said, **shown, **values})


def shown_to(config: AskingSettings, *rollouts: Rollout) -> tuple[str, ...]:
    """The texts that a judge of these replies to one prompt was shown, and may quote."""
    columns = column_texts(rollouts[0].fields, config.shown_columns).values()
    return (*rollouts[0].group_key, *columns, *(rollout.completion for rollout in rollouts))


def _on_own_lines(text: str, columns: Collection[str]) -> str:
    """The text with each slot of a column on a line of its own, since a fence begins and ends with a line."""
    if not columns:
        return text
    slot = rf"(?<!\{{)\{{(?:{'|'.join(sorted(columns))})\}}(?!\}})"
    text = re.sub(rf"(?<=[^\n])[ \t]*({slot})", r"\n\1", text)
    return re.sub(rf"({slot})[ \t]*(?=[^\n])", r"\1\n", text)


def _prompt(prompt: Rollout, max_chars: int, own: frozenset[str]) -> str:
    """The user's side between fences; after it the prompt's own system turn, if it has one."""
    asked = fenced(prompt.prompt, max_chars, own)
    if not prompt.system:
        return asked
    return f"{asked}\n\nThe assistant had these instructions:\n{fenced(prompt.system, max_chars, own)}"


def schema_of(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of an answer: first a reason, on which the verdict can build, then `properties`."""
    every = {"reason": {"type": "string"}, **properties}
    return {"type": "object", "properties": every, "required": list(every), "additionalProperties": False}
