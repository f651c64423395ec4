"""The table of row formats: how each is recognised, and where its prompt and its logged reply are.

The formats as their makers describe them: OpenAI's fine-tuning files (platform.openai.com, Supervised fine-tuning), TRL
1.16 (Dataset formats), Langfuse (Blob storage export field reference), LangSmith (Run data format, Log custom LLM
traces), OpenTelemetry (semantic conventions for generative AI), verifiers v1
(`Trace` and `Episode`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rft_pipeline.campaign import RowFormat
from rft_pipeline.prompts.formats.turns import decoded
from rft_pipeline.rules.base import REFERENCE

Values = dict[str, Any]

LOGGED_REPLY = "logged_reply"
"""The column of a reply that was logged and that nobody called good."""
ASKED = ("messages", "contents", "prompt", "prompts", "question", "query", "input", "text")
"""Keys of a prompt inside a logged input."""
REPLIED = (
    *("choices", "generations", "candidates", "messages", "message", "content"),
    *("answer", "output", "response", "result", "text"),
)
"""Keys of a reply inside a logged output."""


@dataclass(frozen=True)
class RowLayout:
    """One format of rows."""

    title: str
    """Its name for people."""
    needs: str
    """What a row must have, for messages."""
    matches: Callable[[Values], bool]
    """Whether a row looks like this."""
    prompt: tuple[str, ...]
    """Columns of the prompt, in order; the first that a row has is read."""
    reply: tuple[str, ...]
    """Columns of the reply; in the column of the prompt, only a final assistant turn is one."""
    lists: bool = False
    """Whether the prompt must be a list of messages."""
    reply_column: str = REFERENCE
    """Our name for the reply."""
    texts: tuple[str, ...] = ()
    """Further columns with a reply each, which are read as texts."""
    opened: tuple[str, ...] = ()
    """Columns with objects whose other keys become columns."""
    only: tuple[str, str] | None = None
    """A column and its value in rows of model calls: if a file has such rows, its other rows are skipped."""
    ids: tuple[str, ...] = ("id",)
    more_than: RowFormat | None = None
    """A format whose rows these are too, with something more."""


def _is_list(value: Any) -> bool:
    return isinstance(decoded(value), list)


def _is_preference(row: Values) -> bool:
    """Two replies; the prompt is a column of its own, or the first turns of both."""
    has_prompt = row.get("prompt") is not None or _is_list(row.get("chosen"))
    return has_prompt and row.get("chosen") is not None and row.get("rejected") is not None


def _is_langfuse(row: Values) -> bool:
    """An observation, a trace, or an item of a data set, from the user interface (camelCase) or from blob storage."""
    other = ("output", "expectedOutput", "expected_output")
    own = ("traceId", "trace_id", "sessionId", "session_id", "observations", "datasetId", "sourceTraceId", "bookmarked")
    return "input" in row and any(key in row for key in other) and any(key in row for key in own)


def _is_langsmith(row: Values) -> bool:
    """A run, or an example of a data set."""
    return isinstance(decoded(row.get("inputs")), dict) and "outputs" in row


def _is_verifiers(row: Values) -> bool:
    return _is_list(row.get("traces")) or (_is_list(row.get("nodes")) and "task" in row)


LAYOUTS: dict[RowFormat, RowLayout] = {
    "prompts": RowLayout(
        title="rows with a prompt",
        needs="`prompt`: a text or a list of messages",
        matches=lambda row: "prompt" in row,
        prompt=("prompt",),
        reply=("prompt",),
    ),
    "messages": RowLayout(
        title="conversations of messages (OpenAI, TRL)",
        needs="`messages`: a list of {role, content}",
        matches=lambda row: _is_list(row.get("messages")),
        prompt=("messages",),
        reply=("messages",),
        lists=True,
    ),
    "sharegpt": RowLayout(
        title="ShareGPT",
        needs="`conversations`: a list of {from, value}",
        matches=lambda row: _is_list(row.get("conversations")),
        prompt=("conversations",),
        reply=("conversations",),
        lists=True,
    ),
    "completions": RowLayout(
        title="prompts with completions (TRL)",
        needs="`prompt` and `completion`: texts or lists of messages",
        matches=lambda row: row.get("prompt") is not None and row.get("completion") is not None,
        prompt=("prompt",),
        reply=("completion",),
        more_than="prompts",
    ),
    "preferences": RowLayout(
        title="preference pairs (TRL)",
        needs="`chosen` and `rejected`: texts or lists of messages, and `prompt` where they do not contain it",
        matches=_is_preference,
        prompt=("prompt", "chosen"),
        reply=("chosen",),
        texts=("rejected",),
        more_than="prompts",
    ),
    "langfuse": RowLayout(
        title="a Langfuse export",
        needs="`input` and `output`",
        matches=_is_langfuse,
        prompt=("input",),
        reply=("output", "expectedOutput", "expected_output"),
        reply_column=LOGGED_REPLY,
        opened=("metadata", "input"),
        only=("type", "GENERATION"),
    ),
    "langsmith": RowLayout(
        title="a LangSmith export",
        needs="`inputs` and `outputs`",
        matches=_is_langsmith,
        prompt=("inputs",),
        reply=("outputs",),
        reply_column=LOGGED_REPLY,
        opened=("inputs", "outputs", "metadata"),
        only=("run_type", "llm"),
        ids=("id", "run_id"),
    ),
    "verifiers": RowLayout(
        title="traces of verifiers",
        needs="`traces`, or `task` and `nodes`",
        matches=_is_verifiers,
        prompt=("nodes",),
        reply=("nodes",),
        lists=True,
        reply_column=LOGGED_REPLY,
    ),
}
