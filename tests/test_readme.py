"""What the README shows a user to write does what it says there."""

import re
from pathlib import Path
from typing import Any

import yaml

from rft_pipeline.campaign import Campaign, load_rubric
from rft_pipeline.judges import make_judge
from rft_pipeline.rules import AnyRule, Rollout
from tests.judges.engines import OneEngine, Told, judgements

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def block(language: str, after: str) -> str:
    """The first block of a language after a text."""
    found = re.search(rf"```{language}\n(.*?)```", README[README.index(after) :], re.DOTALL)
    assert found is not None
    return found[1]


def test_the_judge_of_ones_own_in_the_readme_judges(tmp_path: Path) -> None:
    code, criterion = (block(language, "**A judge of your own**") for language in ("python", "yaml"))
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 10
    (tmp_path / "judges.py").write_text(code, encoding="utf-8")
    (tmp_path / "rubric.yaml").write_text(f"criteria:\n{criterion}", encoding="utf-8")
    (brief,) = load_rubric(tmp_path / "rubric.yaml").criteria
    asker = Told(lambda text: "7" if "```\nNo.\n```" in text else "seven")
    found = judgements(make_judge(brief.judge, OneEngine(asker)), [Rollout("Why?", "No."), Rollout("Why?", "Well …")])
    assert [each.score for each in found] == [0.7, None]


def test_the_served_judge_in_the_readme_is_a_valid_campaign(tmp_path: Path) -> None:
    judges = yaml.safe_load(block("yaml", "**Several judges.**"))
    after = README[README.index("**Several judges.**") :]
    criterion = re.findall(r"```yaml\n(.*?)```", after, re.DOTALL)[1]
    (tmp_path / "rubric.yaml").write_text(f"criteria:\n{criterion}", encoding="utf-8")
    campaign: dict[str, Any] = {
        **judges,
        "name": "shown",
        "prompts": {"train": "train.jsonl", "eval": "eval.jsonl"},
        "rubric": load_rubric(tmp_path / "rubric.yaml"),
        "folder": tmp_path,
    }
    assert Campaign.model_validate(campaign).used_judges["strong"].is_served


def test_the_readme_names_every_rule_and_its_parameters() -> None:
    table = README[README.index("**Rules.**") :]
    for rule in AnyRule.__origin__.__args__:
        name = rule.model_fields["name"].default
        (row,) = re.findall(rf"^\| `{name}` \|(.*?)\|", table, re.MULTILINE)
        parameters = set(rule.model_fields) - {"name", "version"}
        assert set(re.findall(r"`([a-z_]+)`", row)) >= parameters, name
