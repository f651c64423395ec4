"""System texts in user turns, for chat templates without system turns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rft_pipeline.engines.base import ChatReply, ChatRequest, Messages


def in_user_turn(messages: Messages) -> Messages:
    """The conversation with each system text moved to the front of the next user turn."""
    turns: list[tuple[str, str]] = []
    waiting: list[str] = []
    for role, content in messages:
        if role == "system":
            waiting.append(content)
        elif role == "user":
            turns.append((role, "\n\n".join([*waiting, content])))
            waiting = []
        else:
            turns.append((role, content))
    return tuple(turns)


@dataclass(frozen=True)
class SystemInUserTurn:
    """A judge's engine that gets system texts in user turns; other calls go to the engine unchanged."""

    engine: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def chat_tokens(self, messages: Messages) -> list[int]:
        tokens: list[int] = self.engine.chat_tokens(in_user_turn(messages))
        return tokens

    def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        replies: Iterator[ChatReply] = self.engine.ask(
            [replace(each, messages=in_user_turn(each.messages)) for each in requests]
        )
        return replies

    def reward(self, conversations: Sequence[Messages]) -> list[float]:
        rewards: list[float] = self.engine.reward([in_user_turn(each) for each in conversations])
        return rewards
