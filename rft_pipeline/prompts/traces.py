"""Reads traces of verifiers as rollouts: the prompt, the turns after it, and the tokens of both where a trace has them.

Axes: T tokens of the reply, from the first that the model sampled to the last.
"""

import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from rft_pipeline.errors import DataError
from rft_pipeline.prompts.formats import recognise
from rft_pipeline.prompts.formats.turns import conversation, decoded
from rft_pipeline.prompts.formats.verifiers import first_sampled, last_branch, of_trace, raw_traces, reply_text
from rft_pipeline.prompts.reading import messages_of, name_of
from rft_pipeline.prompts.rows import file_rows, refuse

CUT_OFF = ("max_turns", "max_input_tokens", "max_output_tokens", "max_total_tokens", "context_length")
"""The stop conditions of a trace that was cut off."""


class Turn(NamedTuple):
    """One turn after the prompt."""

    role: str
    text: str
    sampled: bool
    """Whether the model wrote it; otherwise a tool, a user, or the program around the model did."""
    calls: bool
    """Whether it calls tools."""
    tokens: list[int]
    """The tokens of it that the model sampled; empty if the trace has none."""


class Tokens(NamedTuple):
    """The tokens of a trace, as its model saw them."""

    prompt: list[int]
    reply_T: list[int]
    environment: list[int]
    """Positions in `reply_T` that the model did not sample."""
    logprobs_T: list[float] | None
    """Log-probs of the sampled tokens at temperature 1 in nats, 0 elsewhere; None if the trace lacks them, or was
    sampled at another temperature."""


class Trace(NamedTuple):
    """One rollout of another program."""

    id: str
    prompt: list[dict[str, str]]
    """The messages before the first sampled turn, up to the last user turn."""
    turns: list[Turn]
    tokens: Tokens | None
    completion: str
    """The turns as judges read them."""
    thought: str
    finish_reason: str
    """`stop`, or `length` if it was cut off."""
    fields: dict[str, Any]
    """`trace` (its id), `rewards` by name, `stop_condition`."""


class Traces(NamedTuple):
    """The rollouts of a file."""

    rows: list[Trace]
    left_out: Counter[str]
    """Why traces are no rollouts to learn from → how many."""


def read_traces(path: Path) -> Traces:
    """The traces of all episodes of a file (`.jsonl`, `.json` or `.parquet`), in order.

    Traces that failed, those of agents that are not trained, those without a reply, and those whose prompt does not end
    with a user turn are left out and counted. Raises `DataError` for a file of another format, and with a line for each
    row that cannot be read.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; `rollouts.replay` in campaign.yaml names it")
    findings: list[str] = []
    ending = path.name.removesuffix(".gz").rpartition(".")[2]
    rows = file_rows(path, ending if ending in ("json", "parquet") else "jsonl", findings)
    recognise(rows, str(path), "verifiers")
    found: list[Trace] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        for number, raw in enumerate(raw_traces(row.values), start=1):
            try:
                trace = _trace(raw, f"{path.name}:{row.number}.{number}")
            except DataError as error:
                findings.append(f"{path}: {row.place}: trace {number}: {error}")
                continue
            if isinstance(trace, str):
                left_out[trace] += 1
            else:
                found.append(trace)
    refuse(findings)
    return Traces(found, left_out)


def _trace(raw: dict[str, Any], place: str) -> Trace | str:
    """The rollout, or why it is none to learn from."""
    branch = last_branch(raw)
    first, agent = first_sampled(branch), raw.get("agent")
    if raw.get("ok") is False:
        return "failed"
    if isinstance(agent, dict) and agent.get("trainable") is False:
        return "of agents that are not trained"
    if first is None:
        return "without a reply"
    messages: list[Any] = conversation([node.get("message") for node in branch], ())
    name = name_of(raw.get("id"), "id", place)
    try:
        prompt = messages_of(messages[:first], "nodes")
    except DataError:
        prompt = []
    if len(prompt) < max(1, first):
        return "whose prompt cannot be used"
    return Trace(
        id=name,
        prompt=prompt,
        turns=[_turn(node, message) for node, message in zip(branch[first:], messages[first:], strict=True)],
        tokens=_tokens(branch, _sampled_at_one(raw)),
        completion=reply_text([node.get("message") for node in branch[first:]]),
        thought="\n\n".join(_thoughts(branch[first:])),
        finish_reason="length" if _is_cut_off(raw) else "stop",
        fields={**of_trace(raw), "trace": name},
    )


def _turn(node: dict[str, Any], message: Any) -> Turn:
    raw = decoded(node.get("message"))
    ids, mask = node.get("token_ids") or [], node.get("mask") or []
    return Turn(
        role=str(message.get("role") if isinstance(message, dict) else None),
        text=reply_text([{**raw, "tool_calls": None}]) if isinstance(raw, dict) else "",
        sampled=node.get("sampled") is True,
        calls=isinstance(raw, dict) and bool(raw.get("tool_calls")),
        tokens=[token for token, sampled in zip(ids, mask, strict=False) if sampled],
    )


def _tokens(branch: list[dict[str, Any]], with_logprobs: bool) -> Tokens | None:
    """The tokens of a branch; None unless every sampled turn has some, with a mask."""
    ids: list[int] = []
    mask: list[bool] = []
    logprobs: list[float] = []
    for node in branch:
        own, sampled = node.get("token_ids") or [], [bool(each) for each in node.get("mask") or []]
        known = node.get("logprobs") or []
        if len(own) != len(sampled) or (node.get("sampled") is True) != any(sampled):
            return None
        if any(type(token) is not int or token < 0 for token in own):
            return None
        with_logprobs = with_logprobs and len(known) == sum(sampled) and all(map(_is_logprob, known))
        spread = iter(known if with_logprobs else [0.0] * sum(sampled))
        ids, mask = ids + own, mask + sampled
        logprobs += [float(next(spread)) if each else 0.0 for each in sampled]
    if not any(mask) or mask[0]:
        return None
    start, end = mask.index(True), len(mask) - mask[::-1].index(True)
    return Tokens(
        prompt=ids[:start],
        reply_T=ids[start:end],
        environment=[i for i, sampled in enumerate(mask[start:end]) if not sampled],
        logprobs_T=logprobs[start:end] if with_logprobs else None,
    )


def _is_logprob(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value <= 0


def _sampled_at_one(raw: dict[str, Any]) -> bool:
    """Whether all model calls were made at temperature 1, which is also the default of servers."""
    given = (_nested(call, "sampling", "temperature") for call in _calls(raw))
    return all(temperature in (None, 1) for temperature in given)


def _is_cut_off(raw: dict[str, Any]) -> bool:
    """As verifiers decides it: a limit of the run, or the last model call that succeeded ended with its budget."""
    done = [call for call in _calls(raw) if call.get("error") is None]
    return raw.get("stop_condition") in CUT_OFF or (bool(done) and done[-1].get("finish_reason") == "length")


def _calls(raw: dict[str, Any]) -> list[dict[str, Any]]:
    calls = decoded(raw.get("calls"))
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _thoughts(branch: list[dict[str, Any]]) -> list[str]:
    """The thoughts of the sampled turns."""
    found = (_nested(node, "message", "reasoning_content") for node in branch if node.get("sampled") is True)
    return [each for each in found if isinstance(each, str) and each]


def _nested(value: Any, *keys: str) -> Any:
    for key in keys:
        value = decoded(value)
        value = value.get(key) if isinstance(value, dict) else None
    return value
