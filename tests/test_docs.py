"""What the README and the pages of docs/ show a user to write does what they say there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rft_pipeline.campaign import Campaign, load_rubric
from rft_pipeline.campaign.generations import Generations
from rft_pipeline.judges import PROTOCOLS, RuleJudge, make_judge
from rft_pipeline.prompts.anchors import read_anchors
from rft_pipeline.prompts.overlap import NEAR
from rft_pipeline.rules import AnyRule, Rollout
from rft_pipeline.scaffold.reference import reference
from tests.judges.engines import OneEngine, Told, judgements
from tests.runs import edit, run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "data").glob("*/README.md"))]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str, after: str) -> list[str]:
    """The code blocks of a language after a text."""
    return re.findall(rf"```{language}\n(.*?)```", text[text.index(after) :], re.DOTALL)


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), target
        if anchor:
            assert anchor in anchors_of(found.read_text(encoding="utf-8")), target


def write_first(folder: Path) -> None:
    """The complete campaign of the README."""
    text = page("README.md")
    settings, rubric = blocks(text, "yaml", "**campaign.yaml**")[:2]
    train, held_out, anchors = blocks(text, "json", "**train.jsonl**")[:3]
    folder.mkdir(parents=True)
    for name, content in {
        "campaign.yaml": settings,
        "rubric.yaml": rubric,
        "train.jsonl": train,
        "eval.jsonl": held_out,
        "anchors.jsonl": anchors,
    }.items():
        (folder / name).write_text(content, encoding="utf-8")


@pytest.mark.model
def test_the_complete_campaign_in_the_readme_is_accepted_and_runs(tiny_campaign: Path, tiny_model: Path) -> None:
    folder = tiny_campaign.parent / "first"
    write_first(folder)
    assert len([line for name in ("train", "eval") for line in (folder / f"{name}.jsonl").open()]) == 5
    for where in ("policy.model", "judge.model"):
        edit(folder / "campaign.yaml", where, str(tiny_model))
    records = run(folder)
    report = json.loads(records["round_1/eval_reports"].path("report.json").read_text(encoding="utf-8"))
    assert set(report["rounds"][-1]["criteria"]) == {"polite", "short"}
    assert records["round_1/rollouts"].rows["made"] == 4 * 8


def test_the_readme_is_short() -> None:
    """Without the replies, which are folded."""
    shown = re.sub(r"<details>.*?</details>", "", page("README.md"), flags=re.DOTALL)
    assert len(shown.splitlines()) <= 180


def test_each_number_that_sets_it_apart_is_on_the_page_that_is_linked() -> None:
    points = re.findall(r"^\d\. \*\*.*?(?=^\d\. |^## )", page("README.md"), re.MULTILINE | re.DOTALL)
    assert len(points) == 6
    for point in points:
        (linked,) = re.findall(r"\]\((docs/[\w-]+\.md)", point)
        for number in re.findall(r"\d[\d.]*(?: %| s\b)?", point[2:].partition("](")[0]):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", page(linked)), (point, number)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_and_prose_fit_a_terminal_of_80_columns(path: Path) -> None:
    """Rows of JSON Lines and of tables take a line each."""
    text = re.sub(r"```json.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    wide = [line for line in text.splitlines() if len(line) > 80 and not line.startswith("|")]
    assert not wide


def test_the_smallest_campaign_in_the_documentation_is_one_generation_of_one_step(tmp_path: Path) -> None:
    smallest = yaml.safe_load(blocks(page("docs/your-campaign.md"), "yaml", "The smallest campaign")[0])
    (tmp_path / "rubric.yaml").write_text(blocks(page("README.md"), "yaml", "**rubric.yaml**")[0], "utf-8")
    prompts = {"train": "train.jsonl", "eval": "eval.jsonl"}
    rubric = load_rubric(tmp_path / "rubric.yaml")
    campaign = Campaign.model_validate(
        {**smallest, "name": "small", "prompts": prompts, "rubric": rubric, "folder": tmp_path}
    )
    assert campaign.generations == Generations(count=1, prompts=4, steps=1)


def test_the_judge_of_ones_own_in_the_documentation_judges(tmp_path: Path) -> None:
    text = page("docs/rubrics-and-judges.md")
    code, criterion = (blocks(text, language, "## A judge of your own")[0] for language in ("python", "yaml"))
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 10
    (tmp_path / "judges.py").write_text(code, encoding="utf-8")
    (tmp_path / "rubric.yaml").write_text(f"criteria:\n{criterion}", encoding="utf-8")
    (brief,) = load_rubric(tmp_path / "rubric.yaml").criteria
    asker = Told(lambda text: "7" if "```\nNo.\n```" in text else "seven")
    found = judgements(make_judge(brief.judge, OneEngine(asker)), [Rollout("Why?", "No."), Rollout("Why?", "Well …")])
    assert [each.score for each in found] == [0.7, None]


def test_the_served_judge_in_the_documentation_is_a_valid_campaign(tmp_path: Path) -> None:
    text = page("docs/rubrics-and-judges.md")
    judges = yaml.safe_load(blocks(text, "yaml", "## Judges behind a server")[0])
    (tmp_path / "rubric.yaml").write_text(f"criteria:\n{blocks(text, 'yaml', '## Questions')[0]}", encoding="utf-8")
    campaign: dict[str, Any] = {
        **judges,
        "name": "shown",
        "prompts": {"train": "train.jsonl", "eval": "eval.jsonl"},
        "rubric": load_rubric(tmp_path / "rubric.yaml"),
        "folder": tmp_path,
    }
    assert Campaign.model_validate(campaign).used_judges["strong"].is_served


@pytest.mark.parametrize("heading", ["## vLLM on a GPU", "## Several workers with Ray", "## Several GPUs"])
def test_the_runtime_settings_in_the_documentation_are_valid(heading: str, tmp_path: Path) -> None:
    (tmp_path / "rubric.yaml").write_text(blocks(page("README.md"), "yaml", "**rubric.yaml**")[0], "utf-8")
    campaign: dict[str, Any] = {
        **yaml.safe_load(blocks(page("docs/scaling.md"), "yaml", heading)[0]),
        "name": "shown",
        "policy": {"model": "model"},
        "judge": {"model": "model"},
        "prompts": {"train": "train.jsonl", "eval": "eval.jsonl"},
        "rubric": load_rubric(tmp_path / "rubric.yaml"),
        "folder": tmp_path,
    }
    assert Campaign.model_validate(campaign).rollouts.runtime.engine in ("vllm", "ray")


def test_the_examples_of_protocols_load_and_show_those_that_other_sections_do_not(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "rubrics-and-judges.md").read_text(encoding="utf-8")
    (tmp_path / "rubric.yaml").write_text(f"criteria:\n{blocks(text, 'yaml', '## An example of each')[0]}", "utf-8")
    shown = {each.judge.protocol for each in load_rubric(tmp_path / "rubric.yaml").criteria}
    elsewhere = {"rule", "contrast", "graded", "python", "checklist"}
    assert shown | elsewhere == set(
        re.findall(r"^\| `(\w+)` \| .* \|$", text.split("## Likelihood protocols")[0], re.M)
    )
    assert not shown & elsewhere


def test_the_ban_in_the_documentation_loads_and_its_rule_misses_what_the_page_says(tmp_path: Path) -> None:
    text = page("docs/rubrics-and-judges.md")
    ban, rows = (blocks(text, language, "## What a reply must not do")[0] for language in ("yaml", "json"))
    (tmp_path / "rubric.yaml").write_text(ban, encoding="utf-8")
    (tmp_path / "anchors.jsonl").write_text(rows, encoding="utf-8")
    rubric = load_rubric(tmp_path / "rubric.yaml")
    anchors = read_anchors(tmp_path / "anchors.jsonl", rubric)
    assert anchors["labels"].to_list() == [dict.fromkeys(rubric.names, label) for label in (0, 1, 0)]
    replies = [Rollout("My lamp is broken.", completion) for completion in anchors["completion"]]
    rule = rubric.criteria[0].judge
    assert isinstance(rule, RuleJudge)
    assert [verdict.score for _, verdict in rule.rule.decide_all(replies)] == [0, 1, 1]


def test_the_similarity_in_the_documentation_is_the_one_that_is_refused() -> None:
    text = page("docs/your-campaign.md")
    assert f"more than {NEAR:.0%}".replace("%", " %") in text
    first, second = re.search(r'"(Where is my order [^"]*)" and "([^"]*)"', " ".join(text.split())).groups()  # type: ignore[union-attr]
    triples = [{tuple(words[i : i + 3]) for i in range(len(words) - 2)} for words in (first.split(), second.split())]
    assert len(triples[0] & triples[1]) / len(triples[0] | triples[1]) == 0.5


def test_the_slots_in_the_documentation_show_the_columns(tmp_path: Path) -> None:
    text = page("docs/rubrics-and-judges.md")
    row, criterion, template = (blocks(text, name, "## Columns as slots")[0] for name in ("json", "yaml", "text"))
    (tmp_path / "grounded.txt").write_text(template, encoding="utf-8")
    (tmp_path / "rubric.yaml").write_text(f"criteria:\n{criterion}", encoding="utf-8")
    (grounded,) = load_rubric(tmp_path / "rubric.yaml").criteria
    asker, fields = Told(lambda text: "Yes"), json.loads(row)
    judgements(make_judge(grounded.judge, OneEngine(asker)), [Rollout(fields.pop("prompt"), "Yes.", fields=fields)])
    [(_, asked)] = asker.asked[0].messages
    assert asked.startswith("Passages:\n```\n[1] Dogs ride free.\n[2] Cats pay half.\n```\nPolicy:\n```\nAnswer from")


def test_the_documentation_names_every_rule_and_its_parameters() -> None:
    table = page("docs/rules.md")
    for rule in AnyRule.__origin__.__args__:
        name = rule.model_fields["name"].default
        (row,) = re.findall(rf"^\| `{name}` \|(.*?)\|", table, re.MULTILINE)
        parameters = set(rule.model_fields) - {"name", "version"}
        assert set(re.findall(r"`([a-z_]+)`", row)) >= parameters, name


def test_the_documentation_names_every_protocol() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", page("docs/rubrics-and-judges.md"), re.MULTILINE)
    assert set(rows) >= {*PROTOCOLS, "rule"}


def test_the_reference_of_campaigns_is_the_one_that_the_command_prints() -> None:
    assert page("docs/campaign-reference.md") == reference()
    text = " ".join(page("docs/campaign-reference.md").split())
    assert "Largest share of judgements that may fail" in text
    assert text.count("- `by` (text") == 1  # keys that all protocols have stand once
