import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from rft_pipeline.rules import AnyRule, Rollout, RuleScore
from rft_pipeline.rules.json_schema import JsonSchema
from rft_pipeline.rules.text import AsksFor, Finishes, Length, NoMarkdown, Regex, RequiredParts

SCHEMA = {"type": "object", "required": ["intent"], "properties": {"intent": {"enum": ["refund", "repair"]}}}


def reply(completion: str, finish_reason: str = "stop", **fields: Any) -> Rollout:
    return Rollout("My lamp broke.", completion, finish_reason, fields)


def words(count: int) -> Rollout:
    return reply(" ".join(["word"] * count))


@pytest.mark.parametrize("completion", ["We will repair it.", "Will that do for you?", 'She said "we will repair it."'])
def test_a_reply_that_ends_as_a_sentence_finishes(completion: str) -> None:
    assert Finishes()(reply(completion)) == (1.0, "ends by itself")


@pytest.mark.parametrize(
    ("rollout", "reason"),
    [
        (reply("We will repair it.", "length"), "cut off by the token budget"),
        (reply(""), "0 words, fewer than 4"),
        (reply("Of course."), "2 words, fewer than 4"),
        (reply("We will repair it, and then"), "does not end as a sentence"),
    ],
)
def test_a_reply_that_breaks_off_or_says_nothing_does_not_finish(rollout: Rollout, reason: str) -> None:
    assert Finishes()(rollout) == (0.0, reason)


def test_a_title_finishes_without_being_a_sentence() -> None:
    rule = Finishes(min_words=3, sentence=False)
    assert rule(reply("Lamp broke today")) == (1.0, "ends by itself")
    assert rule(reply("Lamp broke today", "length")) == (0.0, "cut off by the token budget")
    assert rule(reply("Lamp broke")) == (0.0, "2 words, fewer than 3")
    assert "sentence" not in Finishes().model_dump()


@pytest.mark.parametrize(
    ("completion", "needed", "score"),
    [
        ("Please send the order number.", True, 1.0),
        ("Please send the ORDER Number.", True, 1.0),
        ("Please send a photo.", True, 0.0),
        ("Please send the order number.", False, 0.0),
        ("Please send the order number.", "true", 1.0),
        ("Please send the order number.", "FALSE", 0.0),
        ("Please send the order number.", "0", 0.0),
        ("Thank you.", False, 1.0),
        ("", True, 0.0),
    ],
)
def test_asking_is_good_where_it_is_needed_and_only_there(completion: str, needed: bool, score: float) -> None:
    rule = AsksFor(pattern=r"order number", when="needs_it")
    assert rule(reply(completion, needs_it=needed)).score == score


def test_asking_is_always_needed_when_no_column_says_otherwise() -> None:
    assert AsksFor(pattern="order number")(reply("Which order number?")) == (1.0, "asks, needed")
    assert AsksFor(pattern="order number")(reply("Thanks.")) == (0.0, "does not ask, needed")


@pytest.mark.parametrize(
    ("count", "score"),
    [(0, 0.0), (5, 0.5), (10, 1.0), (15, 1.0), (20, 1.0), (25, 0.75), (30, 0.5), (40, 0.0), (99, 0.0)],
)
def test_length_falls_linearly_outside_its_bounds(count: int, score: float) -> None:
    assert Length(min_words=10, max_words=20)(words(count)).score == pytest.approx(score)


def test_length_without_a_minimum_takes_an_empty_reply() -> None:
    assert Length(min_words=0, max_words=20)(reply("")) == (1.0, "0 words")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Dear Mr. Smith, it weighs 3.5 kg. We are sorry!", (1.0, "10 words")),
        ("One. Two. Three.", (0.5, "3 sentences, more than 2")),
        ("One. Two. Three. Four.", (0.0, "4 sentences, more than 2")),
        ("抱歉。谢谢您。", (1.0, "3 words")),
        (f"{'one ' * 13}. A. B.", (0.5, "15 words, more than 10")),
    ],
)
def test_length_counts_sentences_too(text: str, verdict: tuple[float, str]) -> None:
    assert Length(max_words=10, max_sentences=2)(reply(text)) == verdict


def test_a_length_without_a_limit_of_sentences_is_addressed_by_its_words_alone() -> None:
    assert Length().identity.keys() == {"name", "version", "min_words", "max_words"}
    assert Length(max_sentences=2).identity["max_sentences"] == 2


def test_a_word_boundary_that_yaml_took_for_a_backspace_is_refused() -> None:
    with pytest.raises(ValidationError, match="write the pattern in single quotes"):
        Regex(pattern="\border")


def test_length_that_nothing_can_meet_is_refused() -> None:
    with pytest.raises(ValidationError, match="min_words 9 is above max_words 8"):
        Length(min_words=9, max_words=8)


def test_a_regex_is_found_or_forbidden() -> None:
    assert Regex(pattern=r"sorr(y|ies)")(reply("So sorry!")) == (1.0, "found 'sorry'")
    assert Regex(pattern=r"sorr(y|ies)")(reply("")) == (0.0, "not found")
    assert Regex(pattern=r"(?i)as an ai", forbid=True)(reply("As an AI, no.")) == (0.0, "found 'As an AI'")
    assert Regex(pattern=r"(?i)as an ai", forbid=True)(reply("No.")) == (1.0, "not found")


@pytest.mark.parametrize("rule", [Regex, AsksFor])
def test_a_broken_pattern_is_refused(rule: Any) -> None:
    with pytest.raises(ValidationError, match="not a regular expression"):
        rule(pattern="(")


def test_required_parts_scores_the_share_that_is_there() -> None:
    rule = RequiredParts(parts=("sorry", "Order", "STRASSE"))
    assert rule(reply("SORRY about the order in the Straße.")) == (1.0, "all there")
    verdict = rule(reply("Sorry."))
    assert verdict.score == pytest.approx(1 / 3)
    assert verdict.reason == "missing: Order, STRASSE"
    assert rule(reply("")).score == 0.0


@pytest.mark.parametrize(
    "completion",
    [
        "# Your order",
        "Steps:\n- send it back",
        "Steps:\n  * send it back",
        "Steps:\n1. send it back",
        "> as you wrote",
        "```\ncode\n```",
        "That is **very** kind.",
        "That is *very* kind.",
        "That is __very__ kind.",
        "See [our page](https://shop.example).",
    ],
)
def test_markdown_is_seen(completion: str) -> None:
    verdict = NoMarkdown()(reply(completion))
    assert verdict.score == 0.0
    assert verdict.reason.startswith("markdown: ")


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "Plain text.",
        "A well-known 5 * 3 = 15 thing.",
        "It was #1 for you - truly.",
        "Snake_case and C# are fine.",
        "3*4*5",
    ],
)
def test_plain_text_is_not_markdown(completion: str) -> None:
    assert NoMarkdown()(reply(completion)) == (1.0, "plain text")


@pytest.mark.parametrize(
    ("completion", "score"),
    [
        ('{"intent": "refund"}', 1.0),
        (' \n{"intent": "repair", "more": 1}\n', 1.0),
        ('{"intent": "return"}', 0.0),
        ("{}", 0.0),
        ("[]", 0.0),
        ("", 0.0),
        ('Sure: {"intent": "refund"}', 0.0),
        ('{"intent": "refund"} {"intent": "refund"}', 0.0),
        ('```json\n{"intent": "refund"}\n```', 0.0),
        ("[" * 300, 0.0),
        ('{"intent": NaN}', 0.0),
        ("[" * 100_000, None),
        ("9" * 5000, None),
    ],
)
def test_json_is_one_document_that_satisfies_its_schema(completion: str, score: float | None) -> None:
    assert JsonSchema(json_schema=SCHEMA)(reply(completion)).score == score


def test_json_says_what_is_wrong() -> None:
    rule = JsonSchema(json_schema=SCHEMA)
    assert rule(reply("{")).reason.startswith("not JSON: ")
    assert rule(reply("{}")).reason == "'intent' is a required property"


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "#/$defs/absent"}, "defs/absent' points to nothing in the schema"),
        ({"properties": {"a": {"$ref": "https://shop.example/schema"}}}, "nothing is fetched from elsewhere"),
        ({"$ref": "#"}, "leads back to itself without end"),
        ({"properties": {"a": {"pattern": "("}}}, "is not a 'regex'"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        JsonSchema(json_schema=schema)


def test_a_document_too_deep_for_a_recursive_schema_is_unscored() -> None:
    nested = JsonSchema(json_schema={"type": "array", "items": {"$ref": "#"}})
    assert nested(reply("[[[]]]")).score == 1.0
    assert nested(reply("[[1]]")).score == 0.0
    assert nested(reply("[" * 900 + "]" * 900)) == (None, "nested too deep to be checked against the schema")


def test_a_pattern_that_takes_for_ever_leaves_the_reply_unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("text", "json_schema"):
        monkeypatch.setattr(f"rft_pipeline.rules.{module}.SECONDS", 0.05)
    slow, text = "(a|aa)+$", "a" * 60 + "b"
    for rule in (Regex(pattern=slow), AsksFor(pattern=slow), JsonSchema(json_schema={"pattern": slow})):
        completion = json.dumps(text) if isinstance(rule, JsonSchema) else text
        verdict = rule.decide(reply(completion))
        assert verdict.score is None
        assert verdict.reason.startswith("the pattern takes more than")


def test_a_schema_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="not a JSON schema"):
        JsonSchema(json_schema={"type": "objekt"})


ALL_RULES: list[dict[str, Any]] = [
    {"name": "asks_for", "pattern": "order"},
    {"name": "copied_run"},
    {"name": "copied_run", "beginning": True},
    {"name": "finishes"},
    {"name": "grounded_words"},
    {"name": "json_schema", "json_schema": {}},
    {"name": "length"},
    {"name": "length", "max_sentences": 2},
    {"name": "no_invented_facts"},
    {"name": "no_markdown"},
    {"name": "regex", "pattern": "x"},
    {"name": "required_parts", "parts": ["x"]},
]


@pytest.mark.parametrize("config", ALL_RULES, ids=lambda config: str(config["name"]))
@pytest.mark.parametrize("completion", ["", " \n ", "\x00\ud800", "{prompt}", "a" * 10_000, json.dumps({"x": 1})])
def test_every_rule_gives_a_score_between_0_and_1_whatever_it_is_shown(config: dict[str, Any], completion: str) -> None:
    verdict: RuleScore = TypeAdapter(AnyRule).validate_python(config)(reply(completion))
    assert 0 <= verdict.score <= 1
    assert verdict.reason
