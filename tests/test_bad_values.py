"""Any wrong value for any key of campaign.yaml and rubric.yaml is refused in words for people, without pydantic's."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.generations import share_out
from rft_pipeline.campaign.rubric import Rubric
from rft_pipeline.judges import PROTOCOLS
from rft_pipeline.rules import AnyRule as Rules
from rft_pipeline.strict import explain

WRONG = ["x y!", "", -1, 1.5, 10**9, [], {}, None, True, ["a b"], {"zz": 1}, [None], [{}], "2"]
LENGTH = {"protocol": "rule", "rule": {"name": "length", "max_words": 3}}
CAMPAIGN: dict[str, Any] = {"name": "shown", "prompts": {"train": {"source": "t.jsonl"}, "eval": {"source": "e.jsonl"}}}
JARGON = re.compile(r"should |Value error|Tuple|String|Input |instance of|function-|literal\[|tuple\[|\bstr\b|NoneType")


def said(raw: Any, model: type[Campaign] | type[Rubric] = Rubric) -> str:
    try:
        model.model_validate(raw, context={"folder": Path("nowhere")})
    except ValidationError as error:
        return explain(Path("file.yaml"), error, raw)
    return ""


def of_campaign(path: tuple[str, ...], value: Any) -> str:
    raw = copy.deepcopy(CAMPAIGN)
    here = raw
    for key in path[:-1]:
        here = here.setdefault(key, {})
    here[path[-1]] = value
    return said({**raw, "rubric": Rubric.model_validate(of_judge(LENGTH)), "folder": Path("nowhere")}, Campaign)


def of_judge(judge: Any) -> dict[str, Any]:
    return {"criteria": [{"name": "short", "judge": judge}]}


def keys_of_campaign() -> Iterator[tuple[str, ...]]:
    schema = Campaign.model_json_schema()

    def below(model: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for key, shape in model.get("properties", {}).items():
            if key in ("rubric", "folder", "held_out"):
                continue
            yield (*path, key)
            for each in (shape, *shape.get("anyOf", ()), *shape.get("allOf", ())):
                if "$ref" in each:
                    yield from below(schema["$defs"][each["$ref"].rpartition("/")[2]], (*path, key))

    return below(schema, ())


def test_a_wrong_value_of_any_key_is_refused_in_plain_words() -> None:
    told = [of_campaign(path, value) for path in keys_of_campaign() for value in WRONG]
    settings = [(name, key) for name, judge in PROTOCOLS.items() for key in judge.model_fields]
    told += [said(of_judge({"protocol": name, key: value})) for name, key in settings for value in WRONG]
    for rule in get_args(get_args(Rules)[0]):
        named = {"name": rule.model_fields["name"].default}
        rules = [{**named, key: value} for key in rule.model_fields for value in WRONG]
        told += [said(of_judge({"protocol": "rule", "rule": each})) for each in rules]
    lines = [line for text in told for line in text.splitlines()]
    assert len(lines) > 3000
    assert not {line for line in lines if JARGON.search(re.sub(r"'[^']*'|\(got .*", "", line))}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("name",), "My campaign", "name: 'My campaign' is not allowed; write small letters (a to z), digits and _"),
        (("owners",), ["bob"], "'bob' is not allowed; write an e-mail address, or team:NAME"),
        (
            ("prompts", "eval", "format"),
            "xml",
            "prompts.eval.format: must be 'jsonl', 'json', 'csv', 'parquet' or 'hub'; or 'prompts', 'messages'",
        ),
        (("training", "method"), ["grpo"], "training.method: must be a text (got ['grpo'])"),
    ],
)
def test_the_message_says_what_is_allowed(path: tuple[str, ...], value: Any, message: str) -> None:
    assert message in of_campaign(path, value)


def test_a_key_in_place_of_the_name_of_its_variable_is_not_shown() -> None:
    server = {"url": "http://127.0.0.1:8000/v1", "api_key_env": "sk-12345"}
    message = of_campaign(("policy",), {"model": "served:big", "server": server})
    assert "the name of an environment variable" in message
    assert "sk-12345" not in message


def test_the_name_of_a_criterion_and_an_empty_list() -> None:
    (line,) = said({"criteria": [{"name": "Is polite?", "judge": LENGTH}]}).splitlines()
    assert line == (
        "file.yaml: criterion \"Is polite?\": name: 'Is polite?' is not allowed; write small letters (a to z), digits "
        "and _, with a letter first"
    )
    assert "judge.grades: must have at least 2 entries, and has 0" in said(
        of_judge({"protocol": "graded", "question": "How kind?", "grades": []})
    )


def test_a_number_that_is_far_too_large_is_answered_at_once() -> None:
    with pytest.raises(ValueError, match=r"the nearest that fit: rollouts\.prompts_per_round: 999999998 or 1000000000"):
        share_out(prompts=10**9 - 1, group_size=8, batch_size=16, steps=1)
