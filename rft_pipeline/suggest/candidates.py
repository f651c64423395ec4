"""Judges that might decide a criterion: made from its description and its present settings, or read from a file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from rft_pipeline.campaign import Campaign, read_yaml
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.errors import ConfigError
from rft_pipeline.judges import DEFAULT_JUDGE, AnyJudge, ModelJudge
from rft_pipeline.judges.likelihood import LikelihoodSettings
from rft_pipeline.rules.slots import as_literal
from rft_pipeline.strict import explain

Raw = Mapping[str, Any]
"""A judge's settings as a rubric file has them."""

_JUDGE: TypeAdapter[AnyJudge] = TypeAdapter(AnyJudge)
_BY_CRITERION: TypeAdapter[dict[str, tuple[AnyJudge, ...]]] = TypeAdapter(dict[str, tuple[AnyJudge, ...]])
_SYSTEMS = ("You are a helpful assistant.", "You are a helpful support agent.", "Reply to the user.")
_PERSONAS = (
    ("You are a careful, friendly and helpful assistant.", "You are a careless, unfriendly and useless assistant."),
    ("You are a trusted expert.", "You are a beginner who guesses."),
)
_INSTRUCTIONS = (
    "Write the message that this text answers or summarises:",
    "Write the message that this text is about:",
    "Write the question that this text answers:",
    "What did the user write to get this reply?",
)
_SENTENCES = ("A reader would describe this reply as", "The tone of this reply is", "This reply sounds")
_WORDS = (
    (("good", "excellent"), ("bad", "poor")),
    (("helpful", "clear"), ("useless", "confusing")),
    (("kind", "caring"), ("cold", "rude")),
)


class Candidate(NamedTuple):
    """A judge that might decide a criterion."""

    raw: Raw
    judge: AnyJudge


def candidate(raw: Raw, folder: Path) -> Candidate:
    """Check the settings of a judge; `folder` is the campaign's. Raises `ConfigError`."""
    try:
        judge: AnyJudge = _JUDGE.validate_python(dict(raw), context={"folder": folder})
    except ValidationError as error:
        raise ConfigError(explain(Path(str(raw.get("protocol"))), error, dict(raw))) from error
    if faults := "; ".join(judge.faults()):
        raise ConfigError(faults)
    return Candidate(raw, judge)


def read_candidates(path: Path, campaign: Campaign) -> dict[str, list[Candidate]]:
    """Judges by criterion, from a YAML file. One that names no `by` asks the model that its criterion's judge asks.

    Raises `ConfigError` for a judge that cannot be used or a criterion that the rubric lacks.
    """
    raw = read_yaml(path)
    if unknown := sorted(set(raw) - set(campaign.rubric.names)):
        raise ConfigError(
            f"{path}: the rubric of {campaign.name} has no criterion {', '.join(unknown)}; "
            f"it has: {', '.join(campaign.rubric.names)}"
        )
    try:
        read = _BY_CRITERION.validate_python(raw, context={"folder": campaign.folder})
    except ValidationError as error:
        raise ConfigError(explain(path, error, raw)) from error
    asked = {
        each.name: {"by": each.judge.by}
        for each in campaign.rubric.criteria
        if isinstance(each.judge, ModelJudge) and each.judge.by != DEFAULT_JUDGE
    }
    return {
        name: [
            candidate({**(asked.get(name, {}) if isinstance(judge, ModelJudge) else {}), **each}, campaign.folder)
            for each, judge in zip(raw[name], found, strict=True)
        ]
        for name, found in read.items()
    }


def made_candidates(criterion: Criterion, present: Raw, system: str | None, folder: Path) -> list[Candidate]:
    """Judges that read likelihoods as the present one does, each once; none if it reads none. `system` is the policy's
    system message."""
    protocol = present["protocol"]
    if not isinstance(criterion.judge, LikelihoodSettings):
        return []
    text = as_literal(criterion.description or criterion.judge.asks).strip()
    kept = {name: present[name] for name in ("by", "show", "squash") if name in present}
    own = [{"protocol": protocol, **kept, **each} for each in _own(present, system)]
    others = [{**each, **{name: kept[name] for name in ("by", "show") if name in kept}} for each in _described(text)]
    every = [each for each in [*own, *others] if each != dict(present)]
    return [candidate(each, folder) for place, each in enumerate(every) if each not in every[:place]]


def _own(present: Raw, system: str | None) -> Iterator[dict[str, Any]]:
    """Other texts for the present protocol."""
    match present["protocol"]:
        case "contrast":
            for positive, negative in _PERSONAS:
                yield {"positive": positive, "negative": negative}
                yield {"positive": present["positive"], "negative": negative}
            yield {"positive": present["positive"], "negative": f"Be the opposite of this: {present['positive']}"}
        case "cloze":
            words = {name: present[name] for name in ("positive", "negative")}
            for sentence in _SENTENCES:
                yield {"templates": [f"The reply:\n{{reply}}\n{sentence}"], **words}
            for good, bad in (*_parts(present), *_WORDS):
                yield {"templates": present["templates"], "positive": list(good), "negative": list(bad)}
        case "relevance" | "word_order":
            more = {name: present[name] for name in ("shuffles",) if name in present}
            for text in (*([system] if system else []), *_SYSTEMS):
                yield {"system": text, **more}
        case "recall":
            for text in _INSTRUCTIONS:
                yield {"instruction": text}


def _parts(present: Raw) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """The present words without one of them."""
    positive, negative = list(present["positive"]), list(present["negative"])
    for word in positive if len(positive) > 1 else ():
        yield [each for each in positive if each != word], negative
    for word in negative if len(negative) > 1 else ():
        yield positive, [each for each in negative if each != word]


def _described(text: str) -> Iterator[dict[str, Any]]:
    """Judges whose texts contain the description of the criterion."""
    if not text:
        return
    for positive, negative in (
        (
            f"Your replies fit this description: {text}",
            f"Your replies do not fit this description: {text}",
        ),
        (
            f"Reply to the user. Make sure of this: {text}",
            f"Reply to the user. Do the opposite of this: {text}",
        ),
    ):
        yield {"protocol": "contrast", "positive": positive, "negative": negative}
    question = f"Does the reply fit this description? {text}\nAnswer Yes or No:"
    yield {
        "protocol": "cloze",
        "templates": [f"A user wrote:\n{{prompt}}\nThe reply was:\n{{reply}}\n{question}"],
        "positive": ["Yes"],
        "negative": ["No"],
    }
