"""`cloze`: which word would a reader put after the reply?

The template's `{prompt}` and `{reply}` are filled in one pass, so nothing a completion contains is read as a slot.
"""

import math
import re

from rft_pipeline.engines import Scorer, ScoreRequest, ScoreResult
from rft_pipeline.errors import ConfigError
from rft_pipeline.judges.likelihood import LikelihoodJudge, Measured
from rft_pipeline.judges.protocols import ClozeJudge
from rft_pipeline.rules import Rollout


class Cloze(LikelihoodJudge):
    """Log-likelihood of the positive words minus the negative words, less the same for an empty reply."""

    def __init__(self, config: ClozeJudge, engine: Scorer) -> None:
        super().__init__(engine, config.squash)
        self.templates = config.templates
        self.words = [self._one_token(word) for word in (*config.positive, *config.negative)]
        self.positives = len(config.positive)
        self.prior: dict[ScoreRequest, float] = {}

    def requests(self, rollout: Rollout) -> list[ScoreRequest]:
        return [self._request(template, rollout.given, rollout.completion) for template in self.templates]

    def measure(self, rollout: Rollout, results: list[ScoreResult]) -> Measured:
        found = [self._log_odds(result) for result in results]
        prior = [self._prior(self._request(template, rollout.given, "")) for template in self.templates]
        nats = sum(a - b for a, b in zip(found, prior, strict=True)) / len(found)
        reason = f"log-odds {sum(found) / len(found):.3f}, of an empty reply {sum(prior) / len(prior):.3f}"
        return Measured(nats, reason)

    def _prior(self, empty: ScoreRequest) -> float:
        """The words' log-odds after an empty reply; a template that shows no prompt has one for all."""
        if empty not in self.prior:
            self.prior[empty] = self._log_odds(self.engine.score([empty])[0])
        return self.prior[empty]

    def _request(self, template: str, prompt: str, reply: str) -> ScoreRequest:
        head, tail = template.split("{reply}")
        fill = {"{prompt}": prompt}
        head, tail = (re.sub(r"\{prompt\}", lambda slot: fill[slot.group()], part) for part in (head, tail))
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
        tokens = self.engine.text_tokens(f" {word}")
        if len(tokens) != 1:
            raise ConfigError(f"cloze word {word!r} is {len(tokens)} tokens for this judge; choose a word of one token")
        return tokens[0]


def _log_sum(logprobs: list[float]) -> float:
    top = max(logprobs)
    return top + math.log(sum(math.exp(logprob - top) for logprob in logprobs))
