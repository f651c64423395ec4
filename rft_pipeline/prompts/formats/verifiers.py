"""Traces of verifiers (`traces.jsonl`): one conversation per trace, with its task and its rewards as columns.

A trace is a tree of messages; as verifiers itself does, its last branch is read. Which tokens of it were sampled by the
model and which came from the environment (`mask`) matters to training only and is not read.
"""

from collections.abc import Iterator
from typing import Any

from rft_pipeline.prompts.formats.turns import decoded

_OF_TASK = ("prompt", "system_prompt", "idx", "image", "workdir", "network_allow", "network_block", "artifacts")
"""Fields of a task that say how it is run."""


def traces(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The traces of an episode, or the trace itself, as rows with `id`, `nodes` (a list of messages), `rewards` by
    name, `stop_condition`, and the fields of the task."""
    for trace in decoded(row.get("traces")) or [row]:
        if isinstance(trace, dict):
            yield _as_row(trace)


def _as_row(trace: dict[str, Any]) -> dict[str, Any]:
    task = _object(_object(trace.get("task")).get("data"))
    rewards = {name: _score(reward) for name, reward in _object(trace.get("rewards")).items()}
    return {
        **{key: value for key, value in task.items() if key not in _OF_TASK and value is not None},
        "id": trace.get("id"),
        "nodes": _last_branch(decoded(trace.get("nodes"))) or _asked(task),
        "rewards": rewards,
        "stop_condition": trace.get("stop_condition"),
    }


def _last_branch(nodes: Any) -> list[Any]:
    """The messages from the root to the last node."""
    messages: list[Any] = []
    if not isinstance(nodes, list):
        return messages
    place: Any = len(nodes) - 1
    while isinstance(place, int) and 0 <= place < len(nodes) and len(messages) < len(nodes):
        node = _object(nodes[place])
        messages.append(node.get("message"))
        place = node.get("parent")
    return messages[::-1]


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
