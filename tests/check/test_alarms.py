"""What is checked of `alarms`: the judge of the alarms sees what training does not."""

from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.errors import ConfigError
from tests.check.small import CLOZE, POLITE, campaign, errors, warnings
from tests.runs import edit


def watched(tmp_path: Path, *held_out: dict[str, Any], **settings: Any) -> Path:
    return campaign(tmp_path, settings={"alarms": {"held_out": list(held_out)}, **settings})


def test_the_same_question_to_the_same_judge_is_refused_under_any_name(tmp_path: Path) -> None:
    assert errors(watched(tmp_path, {"name": "courteous", "weight": 3, "judge": POLITE})) == [
        "campaign.yaml: alarms.held_out: courteous has the same question and judge as polite of the rubric, so it "
        "would show nothing new; use another protocol or another judge (`by`)"
    ]


def test_another_name_for_the_same_model_is_no_other_judge(tmp_path: Path) -> None:
    same = {"name": "courteous", "judge": {**POLITE, "by": "other"}}
    (line,) = errors(watched(tmp_path, same, judges={"other": {"model": "embedded"}}))
    assert "the same question and judge" in line


@pytest.mark.parametrize(
    ("judge", "settings"),
    [(CLOZE, {}), ({**POLITE, "by": "other"}, {"judges": {"other": {"model": "org/other"}}})],
)
def test_another_protocol_or_another_model_may_watch(
    tmp_path: Path, judge: dict[str, Any], settings: dict[str, Any]
) -> None:
    warnings(watched(tmp_path, {"name": "kind", "judge": judge}, **settings))


def test_another_question_to_the_same_judge_by_the_same_protocol_is_warned_of(tmp_path: Path) -> None:
    near = {**POLITE, "positive": "You are a courteous clerk."}
    folder = watched(tmp_path, {"name": "courteous", "judge": near})
    assert [line for line in warnings(folder) if "deceives" in line] == [
        "campaign.yaml: alarms.held_out: courteous has the judge and protocol (contrast) of polite, so what deceives "
        "one may deceive both; use another protocol or another judge (`by`)"
    ]
    edit(folder / "campaign.yaml", "alarms.held_out.0.judge.by", "other")
    edit(folder / "campaign.yaml", "judges", {"other": {"model": "org/other"}})
    assert not any("deceives" in line for line in warnings(folder))


def test_alarms_without_a_held_out_judge_are_warned_of(tmp_path: Path) -> None:
    assert any("alarms.held_out: none given" in warning for warning in warnings(watched(tmp_path)))


def test_a_held_out_criterion_is_checked_like_any_other(tmp_path: Path) -> None:
    templates = ["They wrote:\n{reply}"]
    (line,) = errors(watched(tmp_path, {"name": "kind", "judge": {**CLOZE, "templates": templates}}))
    assert line.startswith("campaign.yaml: alarms.held_out: kind: template")


@pytest.mark.parametrize(
    ("held_out", "said"),
    [
        ([{"name": "polite", "judge": CLOZE}], "the rubric has a criterion with this name"),
        ([{"name": "kind", "gate": 0.5, "judge": CLOZE}], "cannot have a gate"),
        ([{"name": "kind", "weight": 0, "judge": CLOZE}], "all weights are 0"),
        ([{"name": "kind", "judge": {**CLOZE, "by": "nobody"}}], "\"kind\": by: 'nobody' is no judge"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, held_out: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_campaign(watched(tmp_path, *held_out))


def test_a_kl_that_is_not_estimated_is_warned_of(tmp_path: Path) -> None:
    folder = watched(tmp_path, {"name": "kind", "judge": CLOZE})
    assert not any("KL" in line for line in warnings(folder))
    edit(folder / "campaign.yaml", "alarms.kl_prompts", 0)
    assert [line for line in warnings(folder) if "KL" in line] == [
        "campaign.yaml: alarms.kl_prompts: 0, so the KL to base is not estimated and kl_warn and kl_stop do nothing; "
        "set e.g. 32"
    ]
