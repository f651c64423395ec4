"""Traces of verifiers (`traces.jsonl`): one conversation per trace, with its task and its rewards as columns.

A trace is a tree of messages; as verifiers itself does, its last branch is read. The prompt is what comes before the
first message that the model sampled; everything after it, with what tools and users answered, is the reply. Tokens are
read by `rft_pipeline.prompts.traces`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from rft_pipeline.prompts.formats.turns import content_of, decoded

_OF_TASK = ("prompt", "system_prompt", "idx", "image", "workdir", "network_allow", "network_block", "artifacts")
"""Fields of a task that say how it is run."""


def traces(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The traces of an episode, or the trace itself, as rows with `id`, `nodes` (a list of messages), `rewards` by
    name, `stop_condition`, and the fields of the task."""
    for trace in raw_traces(row):
        yield _as_row(trace)


def raw_traces(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The traces of an episode, or the trace itself, as they are in the file."""
    return [trace for trace in decoded(row.get("traces")) or [row] if isinstance(trace, dict)]


def of_trace(trace: dict[str, Any]) -> dict[str, Any]:
    """What a trace says about its own run, not about its task: `rewards` by name and `stop_condition`."""
    rewards = {name: _score(reward) for name, reward in _object(trace.get("rewards")).items()}
    return {"rewards": rewards, "stop_condition": trace.get("stop_condition")}


def last_branch(trace: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes from the root to the last one."""
    branch: list[dict[str, Any]] = []
    nodes = decoded(trace.get("nodes"))
    if not isinstance(nodes, list):
        return branch
    place: Any = len(nodes) - 1
    while isinstance(place, int) and 0 <= place < len(nodes) and len(branch) < len(nodes):
        node = _object(nodes[place])
        branch.append(node)
        place = node.get("parent")
    return branch[::-1]


def first_sampled(branch: Sequence[dict[str, Any]]) -> int | None:
    """The place of the first message that the model sampled; None if there is none."""
    return next((i for i, node in enumerate(branch) if node.get("sampled") is True), None)


def reply_text(messages: Sequence[Any]) -> str:
    """The turns after the prompt as one text: a single one as it is, several with their roles in front."""
    texts = [_text(_object(message)) for message in messages]
    if len(texts) == 1:
        return texts[0]
    return "\n".join(f"{_object(each).get('role')}: {text}" for each, text in zip(messages, texts, strict=True))


def _as_row(trace: dict[str, Any]) -> dict[str, Any]:
    task = _object(_object(trace.get("task")).get("data"))
    return {
        **{key: value for key, value in task.items() if key not in _OF_TASK and value is not None},
        "id": trace.get("id"),
        "nodes": _messages(trace) or _asked(task),
        **of_trace(trace),
    }


def _messages(trace: dict[str, Any]) -> list[Any]:
    """The prompt, and the reply as one turn."""
    branch = last_branch(trace)
    messages, first = [node.get("message") for node in branch], first_sampled(branch)
    if first is None:
        return messages
    return [*messages[:first], {"role": "assistant", "content": reply_text(messages[first:])}]


def _text(message: dict[str, Any]) -> str:
    """The text of a turn, with its calls of tools."""
    content, calls = content_of(message), decoded(message.get("tool_calls"))
    texts = [content] if isinstance(content, str) and content else []
    named = (_object(call) for call in (calls if isinstance(calls, list) else ()))
    return "\n".join([*texts, *(f"[calls {call.get('name')}({call.get('arguments')})]" for call in named)])


def _asked(task: dict[str, Any]) -> list[Any]:
    """The task's own prompt, of a trace without a model call."""
    prompt, system = task.get("prompt"), task.get("system_prompt")
    asked = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    return [{"role": "system", "content": system}, *asked] if isinstance(system, str) else asked


def _score(reward: Any) -> Any:
    return reward.get("score") if isinstance(reward, dict) else reward


def _object(value: Any) -> dict[str, Any]:
    value = decoded(value)
    return value if isinstance(value, dict) else {}
