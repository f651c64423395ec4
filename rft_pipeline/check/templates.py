"""Checks that chat templates accept the campaign's conversations, by rendering one of each shape.

Reads only the template and the names of special tokens. Skips a model that is not on this machine or is served.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from rft_pipeline.campaign import Campaign, SystemIn
from rft_pipeline.campaign.addresses import last_turn, own_system, transcript
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.check.result import Findings
from rft_pipeline.engines.base import Messages
from rft_pipeline.engines.chat_tokens import dropped, render_chat
from rft_pipeline.engines.system_turn import in_user_turn
from rft_pipeline.engines.thoughts import open_tag, switch
from rft_pipeline.errors import EngineError
from rft_pipeline.models import SERVED, folder_of
from rft_pipeline.rules import Rollout
from rft_pipeline.stages.sampling import conversation

_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class Conversation(NamedTuple):
    """A conversation that a model must render."""

    what: str
    """Its origin, in words: a prompt's name, or a criterion."""
    messages: Messages
    reply_follows: bool = True


def check_templates(
    campaign: Campaign, prompts: Mapping[str, pl.DataFrame | None], models: Path, settings: Findings
) -> None:
    """An error for each model whose chat template refuses a conversation or drops a turn."""
    policy = campaign.policy
    asked = [
        Conversation(f"{split} prompt {name}", conversation(messages, policy.system, policy.system_in))
        for split, rows in prompts.items()
        if rows is not None
        for name, messages in rows.select("id", "messages").iter_rows()
    ]
    template = _template(campaign, policy.model, models)
    _check(f"{campaign.folder / 'campaign.yaml'}: policy", policy.model, policy.system_in, template, asked, settings)
    if template is not None and asked and _refused(template, asked[0]) is None:
        _check_thinking(campaign, template, asked[0].messages, settings)
    rollouts = _one_of_each_kind(prompts)
    for name, judge in campaign.used_judges.items():
        asked = [each for criterion in campaign.criteria_of(name) for each in _conversations_of(criterion, rollouts)]
        if judge.system_in == "user_turn":
            asked = [each._replace(messages=in_user_turn(each.messages)) for each in asked]
        where = f"{campaign.folder / 'campaign.yaml'}: {campaign.judge_key(name)}"
        _check(where, judge.model, judge.system_in, _template(campaign, judge.model, models), asked, settings)


def _check(
    where: str,
    model: str,
    system_in: SystemIn,
    template: "_Template | None",
    asked: list[Conversation],
    settings: Findings,
) -> None:
    if template is None:
        return
    shapes: dict[Any, Conversation] = {}
    for each in asked:
        shapes.setdefault((tuple(role for role, _ in each.messages), each.reply_follows), each)
    for each in shapes.values():
        if (why := _refused(template, each)) is not None:
            has_system = any(role == "system" for role, _ in each.messages)
            fold = f", or set {where.rpartition(': ')[2]}.system_in: user_turn" if has_system else ""
            settings.errors.append(
                f"{where}.model {model}: {each.what}: {why}; change the prompts, choose another model{fold}"
            )


def _check_thinking(campaign: Campaign, template: "_Template", messages: Messages, settings: Findings) -> None:
    """An error if thoughts cannot be switched off, a warning if thoughts have no token budget of their own."""
    where, thinking = campaign.folder / "campaign.yaml", campaign.policy.thinking
    prompt, without = (render_chat(template, messages, True, value) for value in (switch(thinking), False))
    if thinking == "off" and open_tag(prompt):
        settings.errors.append(
            f"{where}: policy.thinking: off, but the chat template of {campaign.policy.model} always opens a thought "
            f"({open_tag(prompt)}); set strip or keep, or choose another model"
        )
    elif open_tag(prompt) or prompt != without:
        for key, sampling in (("rollouts", campaign.rollouts.sampling), ("evaluation", campaign.evaluation.sampling)):
            if sampling.max_thinking_tokens is None:
                settings.warnings.append(
                    f"{where}: {key}.sampling.max_thinking_tokens: not set, and {campaign.policy.model} thinks before "
                    f"it answers: thought and answer share {sampling.max_new_tokens} tokens (max_new_tokens); set it, "
                    "or policy.thinking: off"
                )
                break  # evaluation takes it from rollouts


def _refused(template: "_Template", asked: Conversation) -> str | None:
    """Why the template does not render a conversation completely."""
    try:
        render_chat(template, asked.messages, asked.reply_follows)
        roles = tuple(role for role, _ in asked.messages)
        lost = [f"{i} ({role})" for i, role in enumerate(dropped(template, roles, asked.reply_follows)) if role]
    except EngineError as error:
        return str(error)
    return f"the chat template drops message {', '.join(lost)}" if lost else None


def _one_of_each_kind(prompts: Mapping[str, pl.DataFrame | None]) -> dict[str, Rollout]:
    """A reply to a prompt with its own system turn, and one to a prompt without, by the prompt's name."""
    found: dict[bool, tuple[str, Rollout]] = {}
    for split, rows in prompts.items():
        for name, messages in () if rows is None else rows.select("id", "messages").iter_rows():
            system = own_system(messages)
            if bool(system) not in found:
                rollout = Rollout(transcript(messages), "A reply.", system=system, last_turn=last_turn(messages))
                found[bool(system)] = f"{split} prompt {name}", rollout
    return dict(found.values())


def _conversations_of(criterion: Criterion, rollouts: Mapping[str, Rollout]) -> Iterator[Conversation]:
    """The conversations of a criterion's judge; those of a user's own judge are unknown."""
    for name, rollout in rollouts.items():
        for messages in criterion.judge.conversations(rollout):
            reply_follows = messages[-1][0] != "assistant"
            yield Conversation(f"criterion {criterion.name}, {name}", messages, reply_follows)


@dataclass(frozen=True)
class _Template:
    """Renders like the model's tokenizer."""

    text: str
    special: Mapping[str, str]

    def apply_chat_template(
        self,
        turns: list[dict[str, str]],
        *,
        tokenize: bool = False,
        add_generation_prompt: bool = False,
        **switches: bool,
    ) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        rendered, _ = render_jinja_template(
            conversations=[turns],
            chat_template=self.text,
            add_generation_prompt=add_generation_prompt,
            **self.special,
            **switches,
        )
        return str(rendered[0])


def _template(campaign: Campaign, model: str, models: Path) -> _Template | None:
    """None if the model is not on this machine or has no readable template."""
    folder = None if model.startswith(SERVED) else folder_of(model, models, campaign.folder)
    if folder is None:
        return None
    config, named = _json(folder / "tokenizer_config.json"), _json(folder / "special_tokens_map.json")
    file = folder / "chat_template.jinja"
    text = file.read_text(encoding="utf-8") if file.is_file() else config.get("chat_template")
    if isinstance(text, list):  # several named templates
        text = next((each.get("template") for each in text if each.get("name") == "default"), None)
    if not isinstance(text, str):
        return None
    tokens = {name: config.get(name) or named.get(name) for name in _SPECIAL}
    special = {name: token["content"] if isinstance(token, dict) else token for name, token in tokens.items() if token}
    return _Template(text, special)


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found
