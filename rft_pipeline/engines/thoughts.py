"""Thoughts: what a reasoning model writes before its answer, between tags.

A thought begins a reply, or the chat template's generation prompt opens it. A thought that is never closed is cut off,
however it ended: its reply has no answer.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rft_pipeline.engines.settings import Sampling, Thinking

TAGS = {"<think>": "</think>", "[THINK]": "[/THINK]", "<seed:think>": "</seed:think>"}
"""What opens a thought, and what closes it. A tag may be one token or several."""
SWITCHES = ("enable_thinking", "thinking")
"""The names of chat templates' switches for thoughts; a template ignores names that it does not know."""
LONGEST = 16
"""Tokens that hold any tag, one byte each."""


class Reply(NamedTuple):
    """A reply, divided into thought and answer."""

    tokens: list[int]
    """Up to the end of the turn, or to the end of the budget."""
    text: str
    """The answer; with `keep`, the thought in its tags before it."""
    thought: str
    """Without its tags; empty if there is none."""
    thought_tokens: int
    """Tokens of the thought with its tags, the first of `tokens`."""
    finish_reason: str
    """`stop`, or `length` for a budget that is used up and for a thought that is never closed."""


class Following:
    """A reply while it is sampled: whether it has ended, and what it says."""

    def __init__(
        self,
        tokenizer: Any,
        prompt: Sequence[int],
        ends: Sequence[int],
        sampling: "Sampling",
        thinking: "Thinking | None" = None,
    ) -> None:
        """`prompt` are the tokens before the reply, `ends` those that end a turn. Without `thinking`, all of the reply
        is the answer."""
        self.tokenizer, self.ends, self.sampling, self.thinking = tokenizer, ends, sampling, thinking
        self.opened = opened_in(tokenizer, prompt) if thinking else ""
        """The tag that the prompt ends with."""
        self.tokens: list[int] = []
        self.tag = self.opened
        """The tag that opened the thought; empty if none has been found."""
        self.answer_at: int | None = 0 if thinking is None else None
        """Where the answer begins; None while that is not known."""

    def add(self, *tokens: int) -> None:
        """Add tokens; those after the end of the turn or of the budget are left out."""
        for token in tokens:
            if self.done:
                return
            self.tokens.append(token)
            if self.answer_at is None:
                if not self.tag:
                    self._find_opening()
                if self.tag and self._closes(token):
                    self.answer_at = len(self.tokens)

    @property
    def ended(self) -> bool:
        """Whether the turn has ended."""
        return bool(self.tokens) and self.tokens[-1] in self.ends

    @property
    def done(self) -> bool:
        """Whether the turn has ended or the budget is used up."""
        count, most = len(self.tokens), self.sampling.max_thinking_tokens
        if self.ended or most is None:
            return self.ended or count >= self.sampling.max_new_tokens
        if self.answer_at is None:
            return count >= most
        return count - self.answer_at >= self.sampling.max_new_tokens

    def reply(self) -> Reply:
        """The reply as it is now, divided into thought and answer."""
        kept, answer_at = self.tokens, self.answer_at
        end = len(kept) - 1 if self.ended else None

        def text(first: int, last: int | None) -> str:
            found: str = self.tokenizer.decode(kept[first:last], skip_special_tokens=True)
            return found

        if not self.tag:
            return Reply(kept, text(0, end), "", 0, "stop" if self.ended else "length")
        closed = answer_at is not None
        begun = text(0, answer_at if closed else end)
        if not self.opened:
            begun = begun.lstrip().removeprefix(self.tag)  # a tag that is a special token is already left out
        inner, _, rest = begun.partition(TAGS[self.tag])
        answer = rest + text(answer_at, end) if answer_at is not None else ""
        shown = whole_reply(inner, answer, self.tag, closed) if self.thinking == "keep" else answer.lstrip()
        reason = "stop" if closed and self.ended else "length"
        return Reply(kept, shown, inner.strip(), answer_at if answer_at is not None else len(kept), reason)

    def _find_opening(self) -> None:
        text = self.tokenizer.decode(self.tokens).lstrip()
        self.tag = next((tag for tag in TAGS if text.startswith(tag)), "")
        if not self.tag and (len(self.tokens) >= LONGEST or not any(tag.startswith(text) for tag in TAGS)):
            self.answer_at = 0

    def _closes(self, token: int) -> bool:
        close = TAGS[self.tag]
        return close[-1] in _piece(self.tokenizer, token) and close in self.tokenizer.decode(self.tokens[-LONGEST:])


def divided(text: str) -> tuple[str, str]:
    """The thought and the answer in a reply's text; a thought that is not closed has no answer. The opening tag may be
    in the prompt."""
    for tag, close in TAGS.items():
        if text.lstrip().startswith(tag):
            thought, _, answer = text.lstrip().removeprefix(tag).partition(close)
            return thought.strip(), answer.lstrip()
    thought, close, answer = text.partition("</think>")
    return (thought.strip(), answer.lstrip()) if close and "<think>" not in thought else ("", text)


def whole_reply(thought: str, answer: str, tag: str = "<think>", closed: bool = True) -> str:
    """A reply with its thought in tags."""
    return f"{tag}{thought}{TAGS[tag] if closed else ''}{answer}"


def switch(thinking: "Thinking | None") -> bool | None:
    """The value of the chat template's own switch; None leaves it alone."""
    return {"off": False, "strip": True, "keep": True}.get(thinking or "auto")


def opened_in(tokenizer: Any, prompt: Sequence[int]) -> str:
    """The tag of the thought that a prompt opens at its end; empty if it opens none."""
    return open_tag(tokenizer.decode(prompt[-LONGEST:]))


def open_tag(prompt: str) -> str:
    """The same for a prompt's text."""
    return next((tag for tag in TAGS if prompt.rstrip().endswith(tag)), "")


@lru_cache(maxsize=2**17)
def _piece(tokenizer: Any, token: int) -> str:
    found: str = tokenizer.decode([token])
    return found
