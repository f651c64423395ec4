"""How a criterion is decided: the settings of each judging protocol.

What stands here is what the judge sees, and so what makes a criterion "the same". Who answers (`by`, a judge of
campaign.yaml) is kept apart: a judgement's address names the criterion and the judge.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from rft_pipeline.rules import AnyRule
from rft_pipeline.strict import Strict
from rft_pipeline.user_code import Code

Word = Annotated[str, Field(min_length=1, pattern=r"^\S+$")]

DEFAULT_JUDGE = "judge"
"""The judge that answers when a criterion names none: `judge` in campaign.yaml."""

TEMPLATES = Path(__file__).parent / "templates"
"""The prompts of the protocols that ask in words."""


class Squash(Strict):
    """Turns a measured number (nats, a reward) into a score: sigmoid((number − offset) / scale)."""

    offset: float = 0.0
    scale: float = Field(default=0.5, gt=0)


class RuleJudge(Strict):
    """Decided by a function, without a model."""

    protocol: Literal["rule"]
    rule: AnyRule


class ModelProtocol(Strict):
    """What all protocols that ask a model share."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"by"})
    NEEDS: ClassVar[Literal["scorer", "asker", "rewarder"]]
    """What the judge's engine must be able to do."""

    by: str = DEFAULT_JUDGE
    """Who answers: `judge`, or a name under `judges` in campaign.yaml."""


class ContrastJudge(ModelProtocol):
    """Mean token log-likelihood of the reply under a positive persona minus under a negative one."""

    NEEDS = "scorer"

    protocol: Literal["contrast"]
    positive: str = Field(min_length=1)
    negative: str = Field(min_length=1)
    squash: Squash = Squash()

    @model_validator(mode="after")
    def _personas_differ(self) -> "ContrastJudge":
        if self.positive.strip() == self.negative.strip():
            raise ValueError("positive and negative persona are the same text: every reply would score alike")
        return self


class RelevanceJudge(ModelProtocol):
    """Mean token log-likelihood of the reply given its prompt minus given none."""

    NEEDS = "scorer"

    protocol: Literal["relevance"]
    system: str = "You are a helpful support agent."
    squash: Squash = Squash()


class ClozeJudge(ModelProtocol):
    """Log-likelihood of positive words minus negative words after templates that show the reply.

    Each template holds `{reply}` and may hold `{prompt}`. The words' prior, under an empty reply, is subtracted.
    Templates are averaged.
    """

    NEEDS = "scorer"

    protocol: Literal["cloze"]
    templates: tuple[str, ...] = Field(min_length=1)
    positive: tuple[Word, ...] = Field(min_length=1)
    negative: tuple[Word, ...] = Field(min_length=1)
    squash: Squash = Squash()

    @model_validator(mode="after")
    def _templates_show_the_reply(self) -> "ClozeJudge":
        for template in self.templates:
            if template.count("{reply}") != 1:
                raise ValueError(f"template {template!r} must hold {{reply}} exactly once")
            if not template.partition("{reply}")[0].strip():
                raise ValueError(
                    f"template {template!r} must say something before {{reply}}, e.g. 'The reply:\\n{{reply}}'"
                )
        if both := set(self.positive) & set(self.negative):
            raise ValueError(f"words both positive and negative: {', '.join(sorted(both))}")
        return self


class RewardModelJudge(ModelProtocol):
    """The scalar head of a sequence classifier, read on the conversation."""

    NEEDS = "rewarder"

    protocol: Literal["reward_model"]
    squash: Squash = Squash(scale=1.0)


class AskingProtocol(ModelProtocol):
    """What the protocols that ask in words share.

    The question is a template: a file beside the rubric, or the protocol's own. Its content is part of the criterion.
    """

    NEEDS = "asker"
    TEMPLATE: ClassVar[str]
    """The protocol's own template."""
    SLOTS: ClassVar[frozenset[str]]
    """What a template must show, in braces."""

    template: str = Field(default="", validate_default=True)
    """Named in the rubric as a file beside it; held as that file's content."""
    reference: bool = False
    """Whether the judge is shown the prompt's column `reference`, a good answer; without one there is no score."""
    answer: Literal["word", "json"] = "word"
    """`word`: one word, by its log-probs where the judge gives them. `json`: a reason, then the verdict."""
    max_tokens: int = Field(default=256, ge=8)
    """Budget of an answer that is written out: a `json` one, or the word of a served judge that reasons first."""
    max_chars: int = Field(default=16000, ge=200)
    """A longer text is shown by its first and last parts."""

    @field_validator("template", mode="after")
    @classmethod
    def _read(cls, name: str, info: ValidationInfo) -> str:
        path = (info.context or {}).get("folder", Path.cwd()) / name if name else TEMPLATES / cls.TEMPLATE
        if not path.is_file():
            raise ValueError(f"{path}: no such file; leave `template` out for the protocol's own")
        content = path.read_text(encoding="utf-8")
        if lacking := sorted(slot for slot in cls.SLOTS if f"{{{slot}}}" not in content):
            raise ValueError(f"{path}: must hold {', '.join(f'{{{slot}}}' for slot in lacking)}")
        return content


class BinaryJudge(AskingProtocol):
    """A yes/no question about the reply: p(yes) / (p(yes) + p(no)), or the verdict of a JSON answer."""

    TEMPLATE = "binary.txt"
    SLOTS = frozenset({"prompt", "reply", "question", "answer"})

    protocol: Literal["binary"]
    question: str = Field(min_length=1)


class GradedJudge(AskingProtocol):
    """A grade from 1 to k, each described: the expected grade by the log-probs, or the one of a JSON answer."""

    TEMPLATE = "graded.txt"
    SLOTS = frozenset({"prompt", "reply", "question", "grades", "answer"})

    protocol: Literal["graded"]
    question: str = Field(min_length=1)
    grades: tuple[str, ...] = Field(min_length=2, max_length=9)
    """What a reply of grade 1, 2, … k is like, the worst first."""


class ListwiseJudge(AskingProtocol):
    """Ranks the replies to one prompt, shuffled; a reply's score is the share of the others it beats."""

    TEMPLATE = "listwise.txt"
    SLOTS = frozenset({"prompt", "replies", "question"})

    protocol: Literal["listwise"]
    question: str = Field(min_length=1)
    answer: Literal["json"] = "json"


class PairwiseJudge(AskingProtocol):
    """Which of two replies is better, asked in both orders: an answer that flips is a tie.

    A reply's score is the mean over its opponents: 1 won, 0.5 tied, 0 lost.
    """

    TEMPLATE = "pairwise.txt"
    SLOTS = frozenset({"prompt", "first", "second", "question", "answer"})

    protocol: Literal["pairwise"]
    question: str = Field(min_length=1)
    opponents: int = Field(default=4, ge=2)
    """Other replies to the same prompt each is compared with, an odd number counting as the next; all when there are
    no more."""


class PythonJudge(ModelProtocol):
    """A judge of the user's own: a class with the hooks `messages` and `verdict`."""

    NEEDS = "asker"

    protocol: Literal["python"]
    judge: Code
    """`module:Class`; a module beside the rubric, or an installed one."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Given to the class by keyword."""
    max_tokens: int = Field(default=256, ge=1)


Single = (
    RuleJudge
    | ContrastJudge
    | RelevanceJudge
    | ClozeJudge
    | RewardModelJudge
    | BinaryJudge
    | GradedJudge
    | ListwiseJudge
    | PairwiseJudge
    | PythonJudge
)


class PanelJudge(Strict):
    """Several judges: mean − penalty · standard deviation of their scores, at least 0."""

    protocol: Literal["panel"]
    members: tuple[Annotated[Single, Field(discriminator="protocol")], ...] = Field(min_length=2)
    penalty: float = Field(default=0.0, ge=0)
    """What disagreement costs."""


AnyJudge = Annotated[Single | PanelJudge, Field(discriminator="protocol")]

GROUPED = frozenset({"listwise", "pairwise"})
"""Protocols that compare the replies to one prompt."""

VERSIONS = {
    "rule": 1,
    "contrast": 2,
    "relevance": 2,
    "cloze": 2,
    "reward_model": 2,
    "binary": 4,
    "graded": 3,
    "listwise": 4,
    "pairwise": 4,
    "python": 3,
    "panel": 1,
}
"""Grows when a protocol's scores may change for the same settings; part of the criterion's fingerprint."""
