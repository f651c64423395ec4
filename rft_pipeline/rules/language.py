"""A rule about the language of a reply."""

import re
from functools import cache
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from rft_pipeline.rules.base import Rollout, Rule, RuleScore

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_CODES = (
    "af am an ar as az ba be bg bn br bs ca cs cy da de dz el en eo es et eu fa fi fo fr fy ga gd gl gu ha he hi hr ht "
    "hu hy id ig is it ja jv ka kk km kn ko ku ky la lb lg ln lo lt lv mg mk ml mn mr ms mt my ne nl nn no oc om or pa "
    "pl ps pt qu ro ru rw sa se si sk sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk ur uz vi vo wa xh yo zh "
    "zu"
)
LANGUAGES = frozenset(_CODES.split())
"""The ISO 639-1 codes of the languages that py3langid knows (its dialects and codes of three letters are left out)."""
_NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|https?://\S+", re.DOTALL)
_PIECE_END = re.compile(r"(?<=[.!?…。！？।؟])\s*|\n+")


class Language(Rule):
    """The reply is in `language`.

    It is cut at its sentences into pieces of at least `min_letters` letters. A piece scores 1 when `language` is the
    likeliest one, otherwise its probability over that of the likeliest, so that close relatives (Danish, Norwegian)
    cost little and another language nearly all. The reply's score is the mean over pieces, weighted by letters. Fenced
    code and links do not count. An empty reply scores 0; `short` says what a shorter one scores.
    """

    READS = ()

    name: Literal["language"] = "language"
    language: str
    min_letters: int = Field(default=20, ge=1)
    """In letters, since Chinese, Japanese and Thai do not separate words; 20 are about four English words."""
    short: Literal["unscored", "good", "bad"] = "unscored"

    @field_validator("language")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in LANGUAGES:
            raise ValueError(f"not a known language; allowed (ISO 639-1): {', '.join(sorted(LANGUAGES))}")
        return value

    def __call__(self, rollout: Rollout) -> RuleScore:
        if not rollout.completion.strip():
            return RuleScore(0.0, "empty reply")
        pieces = _pieces(_NOT_PROSE.sub(" ", rollout.completion), self.min_letters)
        if not pieces:
            score = {"unscored": None, "good": 1.0, "bad": 0.0}[self.short]
            return RuleScore(score, f"fewer than {self.min_letters} letters: too short to recognise its language")
        total, other = 0.0, ""
        for piece in pieces:
            ranked: dict[str, float] = dict(_identifier().rank(piece))
            best = max(ranked, key=ranked.__getitem__)
            total += _letters(piece) * min(1.0, ranked[self.language] / ranked[best])
            if best != self.language and not other:
                other = f"{best}: {piece.strip()[:60]!r}"
        score = min(1.0, total / sum(map(_letters, pieces)))
        return RuleScore(score, f"reads as {other}" if other else f"reads as {self.language}")


def _pieces(text: str, least: int) -> list[str]:
    """Runs of sentences of at least `least` letters, together the whole text; none when there are fewer letters."""
    pieces: list[list[str]] = [[]]
    letters = 0
    for sentence in filter(None, _PIECE_END.split(text)):
        if letters >= least:
            pieces.append([])
            letters = 0
        pieces[-1].append(sentence)
        letters += _letters(sentence)
    if letters < least:
        rest = pieces.pop()
        if pieces:
            pieces[-1] += rest
    return [" ".join(piece) for piece in pieces]


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))


@cache
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(sorted(LANGUAGES))
    return identifier
