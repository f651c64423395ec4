"""What every judge's settings say: who answers, what is shown, which scores are possible.

The fields of a judge's settings are what the judge sees, and so what makes a criterion "the same". Who answers (`by`, a
judge of campaign.yaml) is kept apart: a judgement's address names the criterion and the judge.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

from rft_pipeline.engines import Asker, Rewarder, Scorer
from rft_pipeline.engines.base import Messages
from rft_pipeline.judges.base import Judge
from rft_pipeline.rules import Rollout
from rft_pipeline.rules.base import Checked, Show
from rft_pipeline.rules.slots import column_texts, fill, slots_in

DEFAULT_JUDGE = "judge"
"""The judge that answers when a criterion names none: `judge` in campaign.yaml."""


class Engines(Protocol):
    """The engines of a campaign's judges by the judge's name, each loaded when it is first used."""

    def scorer(self, by: str) -> Scorer: ...

    def asker(self, by: str) -> Asker: ...

    def rewarder(self, by: str) -> Rewarder: ...


class Scores(StrEnum):
    """The scores that a judge can give."""

    ANY = "any"
    INSIDE = "inside"
    """Above 0 and below 1."""
    ENDS = "ends"
    """Possibly 0 and 1 only, so that its errors are flips."""


class JudgeSettings(Checked):
    """The settings of one protocol. A subclass adds `protocol: Literal["name"]`, a `VERSION` and `make`."""

    VERSION: ClassVar[int]
    """Grows when scores may change for the same settings; part of the criterion's fingerprint."""
    ENGINE: ClassVar[Literal["scorer", "asker", "rewarder"] | None] = None
    """What the judge's engine must be able to do; None where no model is asked."""
    COMPARES_GROUP: ClassVar[bool] = False
    """Whether the replies to one prompt are judged together."""
    WORDING: ClassVar[Mapping[str, str]] = {}
    """The settings that say in words what a good reply is, each with what it is for; suggestions replace them."""
    SEES_ALL: ClassVar[bool] = False
    """Whether it also sees how the reply ended, and `policy.system` as it was filled for the prompt."""

    protocol: str

    @classmethod
    def texts(cls) -> dict[str, frozenset[str]]:
        """The settings whose texts may show columns of the prompts as `{column}`, each with the slots that the protocol
        itself fills."""
        return {}

    @classmethod
    def slots_of(cls, judge: Mapping[str, Any]) -> dict[str, list[str]]:
        """By setting, the slots that columns of the prompts fill, of a judge with these settings (plain data)."""
        return {
            name: [slot for slot in slots_in(*texts_of(judge.get(name))) if slot not in own]
            for name, own in cls.texts().items()
        }

    @classmethod
    def shown_in(cls, judge: Mapping[str, Any]) -> list[str]:
        """The columns of the prompts that a judge with these settings (plain data) shows."""
        return sorted({slot for slots in cls.slots_of(judge).values() for slot in slots})

    @classmethod
    def reads_in(cls, judge: Mapping[str, Any]) -> list[str] | None:
        """The columns of the prompts that its scores may depend on; None if any may count."""
        return cls.shown_in(judge)

    @cached_property
    def shown_columns(self) -> list[str]:
        """The columns of the prompts that it shows. A reply to a prompt that lacks one is unscored."""
        return self.shown_in(self.identity)

    def filled(self, text: str, rollout: Rollout) -> str:
        """A text of the settings with the prompt's columns in it."""
        return fill(text, column_texts(rollout.fields, self.shown_columns))

    def make(self, engines: Engines) -> Judge:
        """The judge. Raises `ConfigError` when the model cannot serve the protocol, `ModelError` when loading fails."""
        raise NotImplementedError

    @property
    def payload(self) -> dict[str, Any]:
        """What a criterion's fingerprint is made from."""
        return {"protocol_version": self.VERSION, "judge": self.identity}

    @property
    def kind(self) -> str:
        """The protocol in words."""
        return self.protocol

    @property
    def wording(self) -> str:
        """What says in words what a good reply is, on one line; the protocol if nothing does."""
        texts = (", ".join(texts_of(getattr(self, name))) for name in self.WORDING)
        return " / ".join(text.replace("\n", " ⏎ ") for text in texts) or self.protocol

    @property
    def asks(self) -> str:
        """The question, as people can be asked it too; empty if there is none."""
        return ""

    @property
    def levels(self) -> tuple[str, ...]:
        """What a reply of grade 1, 2, … is like; empty if the judge gives no grades."""
        return ()

    @property
    def shows_prompt(self) -> bool:
        """Whether a model is shown the prompt."""
        return True

    def scores(self, served: Collection[str]) -> Scores:
        """The possible scores, as far as the settings tell; `served` names the judges that a server holds."""
        return Scores.ANY

    def single_tokens(self) -> tuple[str, ...]:
        """Texts that must each be one token of the judge's tokenizer."""
        return ()

    def conversations(self, rollout: Rollout) -> tuple[Messages, ...]:
        """The conversations that the judge's chat template must be able to show. Where the last turn is not the
        assistant's, the model continues with one."""
        return ()


class ModelJudge(JudgeSettings):
    """The settings of a protocol that asks a model."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"by"})

    by: str = DEFAULT_JUDGE
    """Who answers: `judge`, or a name under `judges` in campaign.yaml."""


class PromptJudge(ModelJudge):
    """The settings of a protocol that shows a model the prompt."""

    show: Show = "system"
    """What of the prompt the model is shown: the user's `last_turn`, the `conversation` (all turns of user and
    assistant), or the conversation and the prompt's own `system` turn."""

    def seen(self, rollout: Rollout) -> Rollout:
        """The rollout with what is shown of its prompt."""
        return rollout.showing(self.show)


def texts_of(setting: Any) -> tuple[str, ...]:
    """The texts of a setting: it is one, or a list of them, or has none."""
    return (setting,) if isinstance(setting, str) else tuple(setting or ())
