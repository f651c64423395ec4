"""Checks that prompts fit the models' contexts and that a judge's words are single tokens.

Reads configuration and tokenizer, no weights. Without a tokenizer on this machine, a word counts as one token, which is
never too many, so that every finding is real.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import as_rollout
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.check.result import Findings
from rft_pipeline.engines.chat_tokens import plain
from rft_pipeline.engines.weights import context_of
from rft_pipeline.judges import DEFAULT_JUDGE
from rft_pipeline.judges.asking import AskingSettings
from rft_pipeline.judges.settings import PromptJudge
from rft_pipeline.judges.untrusted import shortened
from rft_pipeline.models import EMBEDDED, SERVED, folder_of, no_model
from rft_pipeline.models.merging import refusal_of
from rft_pipeline.rules import Rollout
from rft_pipeline.rules.slots import column_texts
from rft_pipeline.stages.sampling import conversation

if TYPE_CHECKING:
    from tokenizers import Tokenizer

EMBEDDED_CONTEXT = 8192
"""Context of the embedded model, known before it is fetched."""


@dataclass(frozen=True)
class Reader:
    """A model's context and tokenizer."""

    name: str
    limit: int | None
    """Most tokens of input and output together; None if unknown."""
    tokenizer: "Tokenizer | None"
    """Encodes text as a continuation, without adding a space in front."""

    def tokens(self, text: str) -> int:
        """Number of tokens, or of words without a tokenizer."""
        if self.tokenizer is None:
            return len(text.split())
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)


def check_context(
    campaign: Campaign, prompts: Mapping[str, pl.DataFrame | None], models: Path, rubric: Path, settings: Findings
) -> None:
    """An error for each split with prompts too long for the policy or a judge, and for words of several tokens."""
    where = campaign.folder / "campaign.yaml"
    readers: dict[str, Reader | None] = {}

    def reader(model: str, key: str) -> Reader | None:
        if model not in readers:
            readers[model] = _reader(model, models, campaign.folder, f"{where}: {key}", settings)
        return readers[model]

    policy = reader(campaign.policy.model, "policy.model")
    judges = {
        name: reader(judge.model, "judge.model" if name == DEFAULT_JUDGE else f"judges.{name}.model")
        for name, judge in campaign.used_judges.items()
    }
    samplings = {"train": campaign.rollouts.sampling, "eval": campaign.evaluation.sampling}
    keeps = campaign.policy.thinking == "keep"
    for split, rows in prompts.items():
        if rows is None:
            continue
        if policy is not None and policy.limit is not None:
            budget = samplings[split].budget
            lengths = [_asked(policy, campaign, messages) + budget for messages in rows["messages"]]
            settings.errors += _too_long(f"{where}: policy.model", policy, lengths, split, rows, budget)
        for name, judge in judges.items():
            if judge is not None and judge.limit is not None:
                budget = samplings[split].budget if keeps else samplings[split].max_new_tokens
                lengths = [length + budget for length in _judged(judge, campaign.criteria_of(name), rows)]
                settings.errors += _too_long(f"{where}: judge.model", judge, lengths, split, rows, budget)
    for name, judge in judges.items():
        if judge is not None and judge.tokenizer is not None:
            for criterion in campaign.criteria_of(name):
                _check_words(judge, criterion, f"{rubric}: {criterion.name}", settings)


def _asked(policy: Reader, campaign: Campaign, messages: str) -> int:
    """Tokens of the system message and the prompt."""
    turns = conversation(messages, campaign.policy.system, campaign.policy.system_in)
    return sum(policy.tokens(content) for _, content in turns)


def _judged(judge: Reader, criteria: list[Criterion], rows: pl.DataFrame) -> list[int]:
    """For each prompt the most tokens of a criterion: of its longest text, of its columns, and of what it shows of the
    prompt."""
    texts = [max((judge.tokens(text) for text in _texts(criterion)), default=0) for criterion in criteria]
    tokens = lru_cache(maxsize=len(criteria) + 8)(judge.tokens)
    views = [as_rollout({**row, "completion": "", "finish_reason": "stop"}) for row in rows.iter_rows(named=True)]
    return [
        max(
            longest + sum(map(tokens, _shown(criterion, view)))
            for criterion, longest in zip(criteria, texts, strict=True)
        )
        for view in views
    ]


def _shown(criterion: Criterion, view: Rollout) -> Iterator[str]:
    """What a criterion's model is shown of a prompt: its texts and columns."""
    judge = criterion.judge
    shown = list(column_texts(view.fields, judge.shown_columns).values())
    if judge.shows_prompt:
        shown.append((judge.seen(view) if isinstance(judge, PromptJudge) else view).prompt)
    return (shortened(text, judge.max_chars) if isinstance(judge, AskingSettings) else text for text in shown)


def _too_long(
    where: str, model: Reader, lengths: list[int], split: str, rows: pl.DataFrame, budget: int
) -> Iterator[str]:
    """An error if prompts and replies, of `lengths` tokens, do not fit into the model's context."""
    if model.limit is not None and (too_long := sum(length > model.limit for length in lengths)):
        longest = max(range(len(lengths)), key=lengths.__getitem__)
        yield (
            f"{where} {model.name} has a context of {model.limit} tokens; {too_long} {split} prompts need more (the "
            f"longest, {rows['id'][longest]}, needs at least {lengths[longest]}, including {budget} new tokens): "
            "shorten them, lower max_new_tokens or max_thinking_tokens, or choose another model"
        )


def _check_words(judge: Reader, criterion: Criterion, where: str, settings: Findings) -> None:
    for word in criterion.judge.single_tokens():
        if (count := judge.tokens(word)) != 1:
            settings.errors.append(
                f"{where}: word {word.strip()!r} is {count} tokens for judge.model {judge.name}; allowed: words of one"
            )


def _texts(criterion: Criterion) -> list[str]:
    """The texts of the settings: a model reads each of them with at least the reply."""
    names = type(criterion.judge).model_fields.keys() - {"protocol", "by", "answer", "show"}
    settings = [getattr(criterion.judge, name) for name in names]
    return [text for each in settings for text in (each if isinstance(each, tuple) else (each,)) if type(text) is str]


def _reader(name: str, models: Path, campaign_folder: Path, where: str, settings: Findings) -> Reader | None:
    """The model's context and tokenizer; adds an error if there is no such model or its files are damaged."""
    if name.startswith(SERVED):
        return Reader(name, None, None)  # only its server knows its limits
    folder = folder_of(name, models, campaign_folder)
    if folder is None:
        if why := no_model(name):
            settings.errors.append(f"{where}: {why}")
        return Reader(name, EMBEDDED_CONTEXT if name == EMBEDDED else None, None)
    from tokenizers import Tokenizer

    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        file = folder / "tokenizer.json"
        tokenizer = plain(Tokenizer.from_file(str(file)), opens=False) if file.is_file() else None
    except Exception as error:  # the tokenizers package raises nothing narrower
        settings.errors.append(f"{where}: {folder}: cannot be read as a model: {error}")
        return None
    if refusal := refusal_of(config):
        settings.errors.append(f"{where}: {folder}: {refusal}")
        return None
    return Reader(name, context_of(config), tokenizer)
