"""A warm start: the policy imitates references before round 1, and reports show base, the warm start and the rounds."""

import json
import re
from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.campaign.cycles import load_current
from rft_pipeline.check.campaign import check_campaign
from rft_pipeline.errors import ConfigError, DataError
from rft_pipeline.labels.pairs import draw_train_pairs, pair_rows
from rft_pipeline.labels.preferred import preferred_replies
from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.trace_record import RecordTrace
from rft_pipeline.pipeline.continuing import load_and_begin
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home
from rft_pipeline.upkeep.verify import verify
from tests.conftest import copy_root
from tests.labels.pairs import answered, exported, taken, written
from tests.runs import edit, made, run

REFERENCES = 6
"""Train prompts with a reference, of twelve."""


def start_warm(folder: Path) -> Path:
    """Cut the tiny campaign in generations to one round, with a warm start."""
    path = folder / "prompts" / "train.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows[:REFERENCES]:
        row["reference"] = "We are very sorry."
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    warm_start = {"learning_rate": 0.01, "epochs": 2, "batch_size": 4}
    for key, value in {"rounds": 1, "training.warm_start": warm_start}.items():
        edit(folder / "campaign.yaml", key, value)
    return folder


@pytest.fixture(scope="module")
def made_warm(on_policy_once: Path) -> Path:
    """The folder with `data` and `home` of a campaign with a warm start, all of it made; only to be copied."""
    folder = start_warm(on_policy_once)
    run(folder, names(folder))
    return folder.parents[1]


@pytest.fixture
def warm(made_warm: Path, tiny_campaign: Path) -> Path:
    """A campaign with a warm start, all of it made."""
    copy_root(made_warm, tiny_campaign)
    return tiny_campaign


def names(folder: Path) -> list[str]:
    return [node.name for node in nodes(load_campaign(folder))]


def names_to_rollouts(folder: Path) -> list[str]:
    """The stages up to round 1's rollouts."""
    return names(folder)[: names(folder).index("round_1/rollouts") + 1]


def test_round_1_starts_from_the_policy_that_imitated_the_references(warm: Path) -> None:
    records = run(warm, names(warm))
    assert made(records) == []
    start = records["warm_start"]
    assert start.rows == {"steps": 3, "references": REFERENCES}
    assert start.content_hash != records["policy"].content_hash
    assert records["round_1/rollouts"].parts["policy.1"] == start.content_hash
    assert records["round_1/checkpoints"].upstream["policy"] == start.address


def test_a_campaign_without_one_has_no_such_stage(on_policy: Path) -> None:
    assert "warm_start" not in names(on_policy)


@pytest.mark.parametrize(("baseline", "shown"), [("warm_start", "base"), ("base", "warm start")])
def test_the_report_shows_base_the_warm_start_and_the_round(on_policy: Path, baseline: str, shown: str) -> None:
    warm = start_warm(on_policy)
    edit(warm / "campaign.yaml", "evaluation.baseline", baseline)
    records = run(warm, names(warm))
    report = json.loads(records["round_1/eval_reports"].path("report.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in report["rounds"]] == [baseline.replace("_", " "), "round 1"]
    assert report["other"]["name"] == shown
    by_name = {row["name"]: row for row in [*report["rounds"], report["other"]]}
    assert by_name["base"]["policy"] == records["policy"].content_hash
    assert by_name["warm start"]["policy"] == records["warm_start"].content_hash
    page = records["round_1/eval_reports"].path("report.html").read_text(encoding="utf-8")
    assert all(f"<td>{name}</td>" in page for name in by_name)
    decision = json.loads(records["promotion"].path("promotion.json").read_text(encoding="utf-8"))
    assert decision["champion"] == baseline.replace("_", " ")


def test_the_rounds_of_an_edit_cycle_have_no_warm_start(warm: Path) -> None:
    edit(warm / "rubric.yaml", "criteria.0.weight", 3.0)
    home = Home.find()
    load_and_begin(home, "tiny")
    current = load_current(home, "tiny")
    assert current.continuation is not None
    assert current.training.warm_start is None


def test_other_references_make_another_warm_start_and_other_rounds(warm: Path) -> None:
    path = warm / "prompts" / "train.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("very sorry", "sorry"), encoding="utf-8")
    assert {"warm_start", "round_1/rollouts"} <= set(made(run(warm, names_to_rollouts(warm))))


def test_a_campaign_without_references_is_refused_before_it_trains(warm: Path) -> None:
    edit(warm / "campaign.yaml", "training.warm_start.references", "answer")
    home = Home.find()
    message = "training.warm_start.references: no row of prompts/train.jsonl has a text in the column 'answer'"
    with pytest.raises(ConfigError, match=message):
        check_campaign(warm, home.models, home.store)
    with pytest.raises(DataError, match=message):
        run(warm, ["prompts", "rubric", "policy", "warm_start"])


def test_the_trace_of_a_checkpoint_leads_back_to_the_warm_start(warm: Path) -> None:
    records = run(warm, names(warm))
    found = trace(Home.find(), "tiny/round_1/checkpoints")
    assert isinstance(found, RecordTrace)
    assert [(link.checkpoint, link.policy) for link in found.chain] == [
        (records["round_1/checkpoints"].address, records["warm_start"].address)
    ]


def test_the_held_out_judge_scores_base_too_so_that_nothing_is_missing(warm: Path) -> None:
    judge = {"protocol": "contrast", "positive": "You are kind.", "negative": "You are cold."}
    alarms = {"held_out": [{"name": "kind", "judge": judge}], "resamples": 100, "kl_prompts": 0}
    edit(warm / "campaign.yaml", "alarms", alarms)
    edit(warm / "campaign.yaml", "evaluation.baseline", "base")
    records = run(warm, names(warm))
    rows = pl.read_parquet(records["round_1/eval_reports"].path("eval_reports.parquet"))
    assert rows["round"].unique().sort().to_list() == [-1, 0, 1]
    assert rows["held_out"].null_count() == 0
    report = json.loads(records["round_1/eval_reports"].path("report.json").read_text(encoding="utf-8"))
    assert (report["alarms"]["base"], report["alarms"]["first"]) == ("base", "warm start")
    page = records["round_1/eval_reports"].path("report.html").read_text(encoding="utf-8")
    started_from = page[page.index("<h3>Why</h3>") :].split("<tbody>")[1]
    assert re.split("<td[^>]*>", started_from)[2].startswith("warm start<")
    assert verify(Home.find().store, None, lambda folders, _: folders).findings == []


def test_a_plan_finds_the_file_for_several_processes_in_the_campaigns_folder(on_policy: Path) -> None:
    warm = start_warm(on_policy)
    runtime = {"processes": 2, "accelerate_config": "two.yaml"}
    (warm / "two.yaml").write_text("distributed_type: MULTI_CPU\n", encoding="utf-8")
    run(warm, ["prompts", "rubric", "policy"])
    edit(warm / "campaign.yaml", "training.runtime", runtime)
    kept = next(step for step in plan(load_campaign(warm), Home.find()).steps if step.key == "tiny/warm_start")
    assert kept.rows.make == 3


def test_replies_to_train_prompts_that_people_prefer_are_references(warm: Path, tmp_path: Path) -> None:
    home = Home.find()
    edit(warm / "campaign.yaml", "training.warm_start.references", "preferred")
    message = r"training.warm_start.references: preferred: people preferred no reply .*rft labels export tiny --pairs"
    with pytest.raises(ConfigError, match=message):
        check_campaign(warm, home.models, home.store)
    with pytest.raises(DataError, match=message):
        run(warm, ["prompts", "rubric", "policy", "warm_start"])

    export = draw_train_pairs(load_campaign(warm), home, 5)
    assert (export.of, export.drawn, export.held_out) == ("round 1", 5, False)
    assert draw_train_pairs(load_campaign(warm), home, 5) == export
    path = written(export, tmp_path)
    answered(path, export, {0: "left", 1: "right", 2: "tie", 3: "left"})
    taken(path)
    answered(path, export, {0: "left", 1: "left"}, "Ben")
    taken(path)
    pairs = pair_rows(export, home.store)
    wanted = {pairs["prompt_id"][row]: pairs["left_reply"][row] for row in (0, 3)}  # of 1, people disagree
    assert preferred_replies("tiny", home.store) == wanted
    check_campaign(warm, home.models, home.store)
    first = run(warm, names(warm))["warm_start"]
    assert first.rows["references"] == 2

    held_out = exported(2)
    path = written(held_out, tmp_path)
    answered(path, held_out, "tuned")
    taken(path)
    assert made(run(warm, names(warm))) == ["promotion"]  # held-out replies are never references
    path = written(export, tmp_path)
    answered(path, export, {1: "right"}, "Cleo")
    taken(path)
    records = run(warm, names_to_rollouts(warm))
    assert {"warm_start", "round_1/rollouts"} <= set(made(records))
    assert records["warm_start"].rows["references"] == 3
