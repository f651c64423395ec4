"""Rollouts that another program sampled, in place of those of a round (`rollouts.replay`).

A trace belongs to the train prompt with the same messages. Its tokens are taken as they are if they are those of the
policy's tokenizer; otherwise its turns are tokenized with the policy's chat template.
"""

import json
from collections import Counter
from typing import Any

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import POLICY_SYSTEM, sampling_fingerprint, with_prompts
from rft_pipeline.errors import DataError, EngineError
from rft_pipeline.fingerprint import canonical_json, fingerprint
from rft_pipeline.prompts.traces import Tokens, Trace, read_traces
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.sampling import conversation
from rft_pipeline.store.rows import ENVIRONMENT

REPLAY = "replay"
"""The name of the file of traces among the sources."""
TRACES = "traces"
"""In place of the policy of a replayed rollout."""
LISTS = {
    **dict.fromkeys(("prompt_tokens", "tokens", ENVIRONMENT), pl.List(pl.Int64)),
    **dict.fromkeys(("logprobs", "old_logprobs"), pl.List(pl.Float64)),
}
OTHER_PROMPTS, UNTOKENIZED = "of prompts that are no train prompts", "that the chat template cannot tokenize"


def replayable(campaign: Campaign, train: pl.DataFrame) -> tuple[dict[str, list[Trace]], Counter[str]]:
    """The traces of each train prompt (by prompt_id, in the order of the prompts), and why others are left out.

    Raises `DataError` if there is none, or if the file cannot be read.
    """
    path = campaign.folder / str(campaign.rollouts.replay)
    rows, left_out = read_traces(path)
    found: dict[str, list[Trace]] = {prompt_id: [] for prompt_id in train["prompt_id"]}
    of_messages = {_own_turns(messages): prompt_id for prompt_id, messages in _pairs(train)}
    for trace in rows:
        prompt_id = of_messages.get(canonical_json(trace.prompt))
        if prompt_id is None:
            left_out[OTHER_PROMPTS] += 1
        else:
            found[prompt_id].append(trace)
    if not any(found.values()):
        counts = ", ".join(f"{count} {why}" for why, count in left_out.items()) or "the file has no traces"
        raise DataError(
            f"{path}: no rollout to replay: {counts}. The prompt of a trace is everything before its first sampled "
            "message; the file may be the source of the train prompts too"
        )
    return {prompt_id: traces for prompt_id, traces in found.items() if traces}, left_out


def count_replayed(campaign: Campaign, train: pl.DataFrame | None) -> int | None:
    """The number of rollouts that a round replays; None if it samples them, or if they cannot be read yet."""
    if campaign.rollouts.replay is None or train is None:
        return None
    try:
        return sum(map(len, replayable(campaign, train)[0].values()))
    except DataError:
        return None


def replay_rollouts(job: Job) -> tuple[pl.DataFrame, dict[str, int]]:
    """The replayed rollouts with their prompts, ordered by prompt; and counts.

    They have the columns of sampled rollouts, `environment` (positions of tokens that no policy sampled) and
    `old_logprobs` (the log-probs of the trace, or null). Raises `DataError` if there is none.
    """
    from rft_pipeline.engines.weights import load_tokenizer

    train = job.frame("prompts").filter(split="train")
    found, left_out = replayable(job.campaign, train)
    tokenizer = load_tokenizer(job.policy_folder("policy"))
    messages, rows, anew = dict(_pairs(train)), [], 0
    for prompt_id, traces in found.items():
        place = 0
        for trace in traces:
            fits = _fits(trace, tokenizer)
            tokens = trace.tokens if fits else _tokenized(job.campaign, messages[prompt_id], trace, tokenizer)
            if tokens is None:
                left_out[UNTOKENIZED] += 1
                continue
            rows.append(_row(job.campaign, prompt_id, place, trace, tokens))
            anew, place = anew + (not fits), place + 1
    if not rows:
        raise DataError(
            f"{job.node.key}: none of the {left_out[UNTOKENIZED]} traces can be tokenized: they have no token ids of "
            "the policy's tokenizer, and its chat template cannot render their turns; record them with token ids "
            "(a train client of verifiers)"
        )
    frame = with_prompts(pl.DataFrame(rows, schema_overrides=LISTS, infer_schema_length=None), train)
    table = job.rollouts
    table.append(frame.join(table.missing(frame.select("rollout_id")), on="rollout_id", how="semi"))
    fields = [
        canonical_json({**json.loads(of_prompt), **json.loads(of_trace)})
        for of_prompt, of_trace in frame.select("fields", "of_trace").iter_rows()
    ]
    without = frame["old_logprobs"].null_count()
    counts = {"left_out": left_out.total(), "tokenized_here": anew, "without_logprobs": without}
    return frame.with_columns(pl.Series("fields", fields)).drop("of_trace"), counts


def _row(campaign: Campaign, prompt_id: str, place: int, trace: Trace, tokens: Tokens) -> dict[str, Any]:
    how = campaign.policy
    known = {"tokens": tokens.reply_T, "prompt_tokens": tokens.prompt, ENVIRONMENT: tokens.environment}
    replied = {"completion": trace.completion, "thought": trace.thought, "finish_reason": trace.finish_reason}
    return {
        "rollout_id": fingerprint([TRACES, trace.id, prompt_id, known, replied, tokens.logprobs_T]),
        "policy": TRACES,
        "prompt_id": prompt_id,
        "sampling": sampling_fingerprint(
            campaign.rollouts.sampling, how.system, campaign.seed, how.system_in, how.thinking
        ),
        "sample_index": place,
        **known,
        "logprobs": tokens.logprobs_T or [],
        "old_logprobs": tokens.logprobs_T,
        **replied,
        "thought_tokens": 0,
        "of_trace": canonical_json(trace.fields),
    }


def _fits(trace: Trace, tokenizer: Any) -> bool:
    """Whether the tokens of a trace are those of this tokenizer: they spell its prompt and its turns."""
    if trace.tokens is None or max([*trace.tokens.prompt, *trace.tokens.reply_T]) >= len(tokenizer):
        return False
    texts = [(trace.prompt[-1]["content"], trace.tokens.prompt)]
    texts += [(turn.text, turn.tokens) for turn in trace.turns if turn.sampled]
    return all(_spell(tokens, text.strip(), tokenizer) for text, tokens in texts)


def _spell(tokens: list[int], text: str, tokenizer: Any) -> bool:
    """Whether a text is among these tokens. Servers leave special tokens out of the text."""
    return any(text in tokenizer.decode(tokens, skip_special_tokens=skips) for skips in (False, True))


def _tokenized(campaign: Campaign, messages: str, trace: Trace, tokenizer: Any) -> Tokens | None:
    """The tokens of a trace by the policy's chat template; None if the template cannot render its turns, or renders
    earlier turns in another way once later ones follow."""
    from rft_pipeline.engines.chat_tokens import chat_tokens, empty_thought, reply_tokens
    from rft_pipeline.engines.end_tokens import end_of_turn

    turns, last = list(trace.turns), max(i for i, turn in enumerate(trace.turns) if turn.sampled)
    talk = conversation(messages, campaign.policy.system, campaign.policy.system_in)
    try:
        prompt = chat_tokens(tokenizer, talk)
        found, environment = list(prompt), list[int]()
        for place, turn in enumerate(turns[: last + 1]):
            if turn.calls:
                return None
            talk = (*talk, (turn.role, turn.text))
            if turn.sampled:
                before = empty_thought(tokenizer, found)
                found += [*before, *reply_tokens(tokenizer, turn.text), end_of_turn(tokenizer)]
            if place < last and turns[place + 1].sampled:
                asked = chat_tokens(tokenizer, talk)
                if asked[: len(found)] != found:
                    return None
                environment += range(len(found) - len(prompt), len(asked) - len(prompt))
                found = asked
    except EngineError:
        return None
    return Tokens(prompt, found[len(prompt) :], environment, None)


def _pairs(train: pl.DataFrame) -> list[tuple[str, str]]:
    return list(train.select("prompt_id", "messages").iter_rows())


def _own_turns(messages: str) -> str:
    """A prompt's messages without `policy.system`."""
    return canonical_json([turn for turn in json.loads(messages) if turn.get("from") != POLICY_SYSTEM])
