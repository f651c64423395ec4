"""`cloze`: which word would a reader put after the reply?

The template's `{prompt}`, `{reply}` and columns are filled in one pass, so nothing a completion contains is read as a
slot.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from rft_pipeline.engines import Scorer, ScoreRequest, ScoreResult
from rft_pipeline.errors import ConfigError
from rft_pipeline.judges.base import Judge
from rft_pipeline.judges.likelihood import LikelihoodJudge, LikelihoodSettings
from rft_pipeline.judges.settings import Engines
from rft_pipeline.rules import Rollout
from rft_pipeline.rules.slots import column_texts, fill
from rft_pipeline.strict import Spelled

Word = Annotated[str, Spelled(r"\S+", "one word, without spaces")]


class ClozeJudge(LikelihoodSettings):
    """Log-likelihood of positive words minus negative words after templates that show the reply.

    Each template holds `{reply}` and may hold `{prompt}` and columns. The words' prior, under an empty reply, is
    subtracted. Templates are averaged.
    """

    VERSION = 2
    WORDING: ClassVar = {
        "templates": "texts that show the reply as {reply} and end where one of the words follows",
        "positive": "words that follow a good reply, each a common English word",
        "negative": "words that follow a bad reply, each a common English word",
    }

    protocol: Literal["cloze"]
    templates: tuple[str, ...] = Field(min_length=1)
    """Texts with `{reply}`; a word follows each."""
    positive: tuple[Word, ...] = Field(min_length=1)
    """Words of a good reply."""
    negative: tuple[Word, ...] = Field(min_length=1)
    """Words of a bad reply."""

    def make(self, engines: Engines) -> Judge:
        return Cloze(self, engines.scorer(self.by))

    @classmethod
    def texts(cls) -> dict[str, frozenset[str]]:
        return {"templates": frozenset({"prompt", "reply"})}

    @property
    def shows_prompt(self) -> bool:
        return any("{prompt}" in template for template in self.templates)

    def single_tokens(self) -> tuple[str, ...]:
        return tuple(f" {word}" for word in (*self.positive, *self.negative))

    def faults(self) -> Iterable[str]:
        for template in self.templates:
            if not template.partition("{reply}")[2].strip():
                yield (
                    f"template {template!r} ends with the reply, so the words would continue the reply; "
                    "add a sentence after it that one of the words completes"
                )
            elif template != template.rstrip():
                yield f"template {template!r} ends in white space; remove it, since the words start with a space"

    @model_validator(mode="after")
    def _templates_show_the_reply(self) -> Self:
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


class Cloze(LikelihoodJudge):
    """Log-likelihood of the positive words minus the negative words, less the same for an empty reply."""

    def __init__(self, config: ClozeJudge, engine: Scorer) -> None:
        super().__init__(engine, config.squash)
        self.config = config
        self.words = [self._one_token(word) for word in config.single_tokens()]
        self.positives = len(config.positive)
        self.prior: dict[ScoreRequest, float] = {}

    def requests(self, rollout: Rollout) -> list[ScoreRequest]:
        return self._requests(rollout, rollout.completion)

    def measure(self, rollout: Rollout, results: list[ScoreResult]) -> tuple[float, str]:
        found = [self._log_odds(result) for result in results]
        prior = [self._prior(empty) for empty in self._requests(rollout, "")]
        nats = sum(a - b for a, b in zip(found, prior, strict=True)) / len(found)
        reason = f"log-odds {sum(found) / len(found):.3f}, of an empty reply {sum(prior) / len(prior):.3f}"
        return nats, reason

    def _prior(self, empty: ScoreRequest) -> float:
        """The words' log-odds after an empty reply; all prompts share it where the template shows nothing of them."""
        if empty not in self.prior:
            self.prior[empty] = self._log_odds(self.engine.score([empty])[0])
        return self.prior[empty]

    def _requests(self, rollout: Rollout, reply: str) -> list[ScoreRequest]:
        """One request for each template, with `reply` in the place of the reply."""
        values = {"prompt": self.config.seen(rollout).asked, **column_texts(rollout.fields, self.config.shown_columns)}
        return [self._request(template, values, reply) for template in self.config.templates]

    def _request(self, template: str, values: Mapping[str, str], reply: str) -> ScoreRequest:
        head, tail = (fill(part, values) for part in template.split("{reply}"))
        return ScoreRequest(
            prefix=tuple(self.engine.opening_tokens(head)),
            continuation=tuple(self.engine.text_tokens(reply + tail)),
            candidates=tuple(self.words),
            want_tokens=False,
        )

    def _log_odds(self, result: ScoreResult) -> float:
        logprobs = result.candidate_logprobs
        return _log_sum(logprobs[: self.positives]) - _log_sum(logprobs[self.positives :])

    def _one_token(self, word: str) -> int:
        tokens = self.engine.text_tokens(word)
        if len(tokens) != 1:
            raise ConfigError(
                f"cloze word {word.strip()!r} is {len(tokens)} tokens for this judge; choose a word of one token"
            )
        return tokens[0]


def _log_sum(logprobs: list[float]) -> float:
    top = max(logprobs)
    return top + math.log(sum(math.exp(logprob - top) for logprob in logprobs))
