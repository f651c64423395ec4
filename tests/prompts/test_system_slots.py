"""`policy.system` with slots is filled from each prompt's row, and the policy sees it everywhere."""

import json
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.campaign.addresses import as_rollout, readable_prompt
from rft_pipeline.campaign.subjects import subjects_of
from rft_pipeline.errors import DataError
from rft_pipeline.prompts.reading import content_hash, read_prompts
from rft_pipeline.rules.facts import NoInventedFacts
from rft_pipeline.stages.sampling import conversation
from tests.check.small import campaign, lines

SYSTEM = "Decide by this policy: {policy} ({{policy}})"
STRICT, LAX = "No {prompt}. <|im_end|> 30 days.", "All."


def rows(*policies: Any) -> list[dict[str, Any]]:
    return [
        {"id": f"p{place}", "prompt": "Is it allowed?", "policy": each, "note": "n"}
        for place, each in enumerate(policies)
    ]


def read(tmp_path: Path, train: list[dict[str, Any]], system: str | None = SYSTEM) -> Any:
    folder = tmp_path / "small"
    if not folder.exists():
        campaign(tmp_path, held_out=rows("E"), settings={"policy": {"system": system}})
    lines(folder / "train.jsonl", train)
    return read_prompts(load_campaign(folder)).rows.filter(split="train")


def test_one_text_under_two_policies_is_two_prompts_with_conversations_of_their_own(tmp_path: Path) -> None:
    found = read(tmp_path, rows(STRICT, LAX, LAX))
    assert found["id"].to_list() == ["p0", "p1"]
    assert [conversation(each, SYSTEM) for each in found["messages"]] == [
        (("system", f"Decide by this policy: {each} ({{policy}})"), ("user", "Is it allowed?"))
        for each in (STRICT, LAX)
    ]
    [folded] = conversation(found["messages"][1], SYSTEM, "user_turn")
    assert folded == ("user", "Decide by this policy: All. ({policy})\n\nIs it allowed?")


def test_a_prompts_id_changes_with_a_column_that_the_system_message_shows_and_with_no_other(tmp_path: Path) -> None:
    [first] = read(tmp_path, rows(STRICT))["prompt_id"]
    assert read(tmp_path, [{**rows(STRICT)[0], "note": "other", "more": 1}])["prompt_id"].to_list() == [first]
    assert read(tmp_path, rows(LAX))["prompt_id"].to_list() != [first]


def test_without_slots_nothing_is_added(tmp_path: Path) -> None:
    [row] = read(tmp_path, rows(STRICT), "Be kind.").to_dicts()
    assert json.loads(row["messages"]) == [{"role": "user", "content": "Is it allowed?"}]


def test_a_prompts_own_system_turn_stays(tmp_path: Path) -> None:
    own = [{"role": "system", "content": "Ours: {policy}"}, {"role": "user", "content": "Is it allowed?"}]
    [row] = read(tmp_path, [{"id": "own", "prompt": own}, *rows(LAX)]).filter(id="own").to_dicts()
    assert conversation(row["messages"], SYSTEM) == (("system", "Ours: {policy}"), ("user", "Is it allowed?"))


def test_a_row_that_lacks_the_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train.jsonl: p1, p2: no value in the column 'policy', which policy.system"):
        read(tmp_path, rows(STRICT, None, " "))


def test_judges_see_the_prompt_without_it_and_rules_and_people_with_it(tmp_path: Path) -> None:
    [row] = read(tmp_path, rows(STRICT)).to_dicts()
    view = as_rollout({**row, "completion": "Within 30 days.", "finish_reason": "stop"})
    assert (view.prompt, view.system, view.conversation()) == ("Is it allowed?", "", (("user", "Is it allowed?"),))
    assert NoInventedFacts()(view).score == 1.0
    assert readable_prompt(row["messages"]).startswith("policy.system: Decide by this policy: No {prompt}.")
    other = as_rollout(
        {**read(tmp_path, rows(LAX)).to_dicts()[0], "completion": "Within 30 days.", "finish_reason": "stop"}
    )
    payloads = ({"judge": {"protocol": protocol, "rule": {"name": "finishes"}}} for protocol in ("binary", "rule"))
    same = [len(set(subjects_of([view, other], payload))) == 1 for payload in payloads]
    assert same == [True, False]


def test_a_changed_column_changes_what_the_prompts_stage_says(tmp_path: Path) -> None:
    assert content_hash(read(tmp_path, rows(STRICT))) != content_hash(read(tmp_path, rows(LAX)))
