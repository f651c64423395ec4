"""Has a model write other wordings of a criterion, from replies on which people and the judge disagree.

Each request shows other replies, so that also a model that answers without sampling writes different wordings.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from rft_pipeline.campaign.addresses import readable_prompt
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.engines import Asker, ChatReply
from rft_pipeline.errors import EngineError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.judges import fenced
from rft_pipeline.judges.answers import UnreadableError, own_object
from rft_pipeline.judges.asking import no_answer, request, schema_of
from rft_pipeline.judges.settings import texts_of
from rft_pipeline.rules.slots import slots_in
from rft_pipeline.suggest.candidates import Raw

TEMPLATE = Path(__file__).with_name("write.txt")
SHOWN = 6
"""Replies that one request shows."""
LONGEST_SHOWN = 2000
"""Characters of a prompt or reply that are shown."""
LONGEST = 2000
"""Characters of a text that a model writes."""
MAX_TOKENS = 1024
DISAGREE = 0.3
"""Distance of score and label from which judge and people disagree."""


def written_candidates(
    criterion: Criterion, present: Raw, judged: pl.DataFrame, writer: Asker, count: int, seed: int
) -> Iterator[Raw | str]:
    """`count` judges with other wordings, or why an answer cannot be used.

    `present` are the judge's settings, and `judged` its judgements of labelled replies, as `judgements_of` returns
    them. Raises `EngineError` if the model gives no answer at all.
    """
    wordings = {name: getattr(criterion.judge, name) for name in criterion.judge.WORDING}
    schema = schema_of(**{name: _type_of(now) for name, now in wordings.items()})
    shown = [_shown(judged, seed_of(seed, "shown", criterion.name, place)) for place in range(count)]
    requests = [
        request(str(place), (("user", _message(criterion, present, rows, writer)),), MAX_TOKENS, (), schema)
        for place, rows in enumerate(shown)
    ]
    replies = sorted(writer.ask(requests), key=lambda reply: int(reply.request_id))
    if replies and all(reply.error for reply in replies):
        raise EngineError(
            f"the model that writes texts gave no answer: {replies[0].error}; for a slow server, make it one of the "
            "`judges` in campaign.yaml, set its server.timeout_seconds, and give its name as --model"
        )
    for reply, rows in zip(replies, shown, strict=True):
        try:
            yield {**present, **_read(reply, wordings, rows)}
        except UnreadableError as error:
            yield str(error)


def disagreements(judged: pl.DataFrame) -> pl.DataFrame:
    """The replies that the judge scores differently from people, the largest difference first."""
    apart = (pl.col("score") - pl.col("label")).abs().alias("apart")
    found = judged.drop_nulls("score").with_columns(apart).sort("apart", "rollout_id", descending=[True, False])
    return found.filter(pl.col("apart") >= DISAGREE)


def _shown(judged: pl.DataFrame, seed: int) -> list[dict[str, Any]]:
    """Replies for one request: of those on which judge and people disagree, some of each direction."""
    apart = disagreements(judged)
    draw = Random(seed)
    found: list[dict[str, Any]] = []
    for side in (apart.filter(pl.col("score") > pl.col("label")), apart.filter(pl.col("score") < pl.col("label"))):
        rows = side.head(2 * SHOWN).rows(named=True)
        found += draw.sample(rows, min(SHOWN // 2, len(rows)))
    return found


def _message(criterion: Criterion, present: Raw, rows: Sequence[Mapping[str, Any]], writer: Asker) -> str:
    own = writer.control_tokens
    examples = [
        f"Reply {place} answers:\n{fenced(readable_prompt(row['messages']), LONGEST_SHOWN, own)}\nThe reply:\n"
        f"{fenced(row['completion'], LONGEST_SHOWN, own)}\n"
        f"People say {row['label']:.2f}, the judge {row['score']:.2f}; 1 is good, 0 is bad."
        for place, row in enumerate(rows, start=1)
    ]
    wording = criterion.judge.WORDING
    return TEMPLATE.read_text(encoding="utf-8").format(
        name=criterion.name,
        asked=criterion.description or criterion.judge.asks or "(no description)",
        present=json.dumps(dict(present), ensure_ascii=False, indent=2),
        examples="\n\n".join(examples),
        wanted="\n".join(f"- {name}: {what}" for name, what in wording.items()),
        keys=", ".join(f'"{name}": {_example(getattr(criterion.judge, name))}' for name in wording),
    )


def _read(reply: ChatReply, now: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The wordings of an answer. Raises `UnreadableError` if it holds none that can be used."""
    if why := reply.error or no_answer(reply):
        raise UnreadableError(why)
    found = own_object(reply.text, ("reason", *now), [row["completion"] for row in rows], cut=reply.cut_at > 0)
    known = set(slots_in(*(text for each in now.values() for text in texts_of(each))))
    for name, present in now.items():
        value = found.get(name)
        texts = texts_of(value) if isinstance(value, str if isinstance(present, str) else list) else ()
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise UnreadableError(f"{name} is missing or no text")
        if any(len(text) > LONGEST for text in texts):
            raise UnreadableError(f"{name} has more than {LONGEST} characters")
        if new := sorted(set(slots_in(*texts)) - known):
            raise UnreadableError(f"{name} shows {{{new[0]}}}, which the present text does not show")
    return {name: found[name] for name in now}


def _type_of(now: Any) -> dict[str, Any]:
    return {"type": "string"} if isinstance(now, str) else {"type": "array", "items": {"type": "string"}}


def _example(now: Any) -> str:
    return '"..."' if isinstance(now, str) else '["...", "..."]'
