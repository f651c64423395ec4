"""The campaigns of data/ pass their check, and each runs for one round with the tiny model, cut to a few rows."""

import itertools
import json
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from rft_pipeline.campaign import load_campaign
from rft_pipeline.check import check_campaign
from rft_pipeline.evaluation.classes import label_rules
from rft_pipeline.judges import make_judge
from rft_pipeline.judges.cloze import ClozeJudge
from rft_pipeline.rules import Rollout
from rft_pipeline.rules.slots import slots_in
from tests.judges.engines import OneEngine, Told, judgements
from tests.runs import edit, run

DATA = Path(__file__).parents[2] / "data"
RUN = ("content_moderation", "rag_grounding", "support_reply", "ticket_subject")
"""All but code_generation, which has tests of its own: tests/campaign/test_code_generation.py."""
CPU = {"device": "cpu", "dtype": "float32", "batch_size": 8}
SAYS_ENOUGH = {"protocol": "rule", "rule": {"name": "length", "min_words": 12}}
"""A criterion that differs within groups of random replies."""
SMALL: dict[str, dict[str, Any]] = {
    "rollouts": {"prompts_per_round": 4, "group_size": 2, "sampling": {"max_new_tokens": 8}, "runtime": CPU},
    "evaluation": {"resamples": 100, "samples_per_prompt": 1, "runtime": CPU},
    "training": {"batch_size": 2, "runtime": {"micro_batch_size": 4, "device": "cpu"}},
    "reward": {"min_group_share": 0.0},
}


def cut(folder: Path, model: Path) -> None:
    """Cut a copied campaign to one round of 4 prompts × 2 rollouts × 8 tokens on `model`, which passes no gate."""
    settings = yaml.safe_load((folder / "campaign.yaml").read_text(encoding="utf-8"))
    settings["rounds"] = 1
    settings["policy"]["model"] = str(model)
    settings["judge"] = {"model": str(model), "runtime": CPU}
    for block, small in SMALL.items():
        settings.setdefault(block, {}).update(small)
    if "warm_start" in settings["training"]:
        settings["training"]["warm_start"]["epochs"] = 1
    if settings.get("alarms"):
        settings["alarms"]["kl_prompts"] = 2
    (folder / "campaign.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    rubric = yaml.safe_load((folder / "rubric.yaml").read_text(encoding="utf-8"))
    for criterion in rubric["criteria"]:
        criterion.pop("gate", None)
    rubric["criteria"].append({"name": "says_enough", "judge": SAYS_ENOUGH})
    (folder / "rubric.yaml").write_text(yaml.safe_dump(rubric, sort_keys=False), encoding="utf-8")
    for file, rows in {"prompts/train.jsonl": 8, "prompts/eval.jsonl": 4, "anchors.jsonl": 8}.items():
        lines = (folder / file).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / file).write_text("".join(lines[:rows]), encoding="utf-8")


@pytest.fixture(scope="module")
def worded_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a token of its own for each word that a cloze judge of these campaigns weighs."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    judges = [each.judge for name in RUN for each in load_campaign(DATA / name).single_criteria]
    clozes = [judge for judge in judges if isinstance(judge, ClozeJudge)]
    words = {f" {word}" for judge in clozes for word in (*judge.positive, *judge.negative)}
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_model), AutoModelForCausalLM.from_pretrained(tiny_model)
    tokenizer.add_tokens(sorted(words))
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    folder = tmp_path_factory.mktemp("worded")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", sorted(each.name for each in DATA.iterdir() if each.is_dir()))
def test_a_campaign_of_data_passes_its_check_without_a_warning(name: str, tmp_path: Path) -> None:
    assert check_campaign(DATA / name, tmp_path, tmp_path).warnings == ()


def test_the_judged_rubric_of_rag_grounding_checks_and_shows_its_judge_the_passages(tmp_path: Path) -> None:
    folder = tmp_path / "rag_grounding"
    shutil.copytree(DATA / "rag_grounding", folder)
    edit(folder / "campaign.yaml", "rubric", "rubric_judged.yaml")
    edit(folder / "campaign.yaml", "judge.model", "Qwen/Qwen2.5-7B-Instruct")
    assert check_campaign(folder, tmp_path, tmp_path).warnings == ()
    rubric = {each.name: each.judge for each in load_campaign(folder).rubric.criteria}
    row = {"context": ["Descale it every two months.", "It holds one litre."]}
    for name, said in {"supported": '{"reason": "", "grade": 3}', "relevant": "Yes"}.items():
        asker = Told(lambda _, said=said: said)  # type: ignore[misc]
        [found] = judgements(
            make_judge(rubric[name], OneEngine(asker)), [Rollout("How often?", "Monthly [1].", fields=row)]
        )
        assert found.score == 1
        assert "[1] Descale it every two months.\n[2] It holds one litre." in asker.asked[0].messages[-1][1]


def commented(path: Path, begins: str, most: int = 99) -> Any:
    """The YAML in the comments of a file from the line on that begins so, without its `#`."""
    lines = [re.sub(r"^( *)# ?", r"\1", line) if line.lstrip().startswith("#") else "" for line in path.open()]
    start = next(i for i, line in enumerate(lines) if line.lstrip().startswith(begins))
    block = list(itertools.takewhile(str.strip, lines[start : start + most]))
    return yaml.safe_load(textwrap.dedent("".join(block)))


@pytest.mark.parametrize(
    ("name", "judge", "most", "criterion"),
    [
        ("support_reply", "judges:", 99, {"name": "helps"}),
        ("code_generation", "judge:", 3, {}),
        ("content_moderation", "judges: {", 1, {"name": "reason_fits"}),
    ],
)
def test_the_served_judge_in_the_comments_checks(
    name: str, judge: str, most: int, criterion: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / name
    shutil.copytree(DATA / name, folder)
    for key, value in commented(DATA / name / "campaign.yaml", judge, most).items():
        edit(folder / "campaign.yaml", key, value)
    asks = commented(DATA / name / "rubric.yaml", "judge:" if criterion else "- name: readable")
    rubric = yaml.safe_load((folder / "rubric.yaml").read_text(encoding="utf-8"))
    others = [each for each in rubric["criteria"] if isinstance(each["judge"].get("rule"), dict)]
    edit(folder / "rubric.yaml", "criteria", [*others, {**criterion, **asks} if criterion else asks[0]])
    for key in ("audit", "anchors"):
        edit(folder / "campaign.yaml", key, None)
    checked = check_campaign(folder, tmp_path, tmp_path)
    assert [each.name for each in checked.campaign.rubric.judged] == [criterion.get("name", "readable")]
    assert set(checked.campaign.used_judges) & checked.campaign.served_judges


@pytest.mark.parametrize("name", RUN)
def test_a_campaign_of_data_runs_for_one_round(name: str, tiny_campaign: Path, worded_model: Path) -> None:
    folder = tiny_campaign.parent / name
    shutil.copytree(DATA / name, folder)
    cut(folder, worded_model)
    records = run(folder)
    campaign = load_campaign(folder)
    report = json.loads(records["round_1/eval_reports"].path("report.json").read_text(encoding="utf-8"))
    assert set(report["rounds"][-1]["criteria"]) == set(campaign.rubric.names)
    classes = report.get("classes", {})
    assert set(classes) == set(label_rules(campaign.evaluated))
    assert all(found.keys() == {"warm start", "round 1", "base"} for found in classes.values())
    assert report["alarms"] is not None or campaign.alarms is None
    scores = pl.read_parquet(records["round_1/judge_scores"].path("judge_scores.parquet"))
    assert scores["score"].is_between(0, 1).all()
    assert scores.height == 4 * 2 * len(campaign.rubric.names)

    prompts = pl.read_parquet(records["prompts"].path("prompts.parquet"))
    for messages, fields in prompts.select("messages", "fields").iter_rows():
        for slot in slots_in(campaign.policy.system or ""):
            assert json.loads(fields)[slot] in json.loads(messages)[0]["content"]
