"""The facts of a model card: of the weights it stands beside, and of nothing that was before or elsewhere."""

import json
from pathlib import Path

from rft_pipeline.campaign import load_campaign
from rft_pipeline.fingerprint import file_sha256
from rft_pipeline.pipeline.card import card_facts
from rft_pipeline.pipeline.export import export
from rft_pipeline.report.card import Facts, render_card
from rft_pipeline.store import Home, Record
from tests.promotion.small import record, started_from_champion
from tests.runs import edit, run


def facts_of(folder: Path, checkpoint: Record, report: Record | None) -> Facts:
    return card_facts(load_campaign(folder), Home.find(), checkpoint, report, "by hand", forced=True)


def exported(folder: Path, target: Path) -> str:
    export(load_campaign(folder), Home.find(), 1, target)
    return (target / "README.md").read_text(encoding="utf-8")


def held_out_prompts(folder: Path, count: int) -> None:
    rows = [{"id": f"more-{number}", "prompt": f"Please help with parcel {number}."} for number in range(count)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "prompts" / "eval.jsonl").write_text(text, encoding="utf-8")


def test_the_held_out_prompts_are_those_of_the_report_and_the_train_prompts_those_of_the_training(
    finished_copy: Path,
) -> None:
    before = record("tiny/round_1/checkpoints")
    held_out_prompts(finished_copy, 9)
    records = run(finished_copy)
    assert records["round_1/checkpoints"].address == before.address
    facts = facts_of(finished_copy, before, records["round_2/eval_reports"])
    assert (facts.prompts["train"], facts.prompts["eval"]) == (12, 9)
    assert facts.prompts["eval_hash"] == file_sha256(finished_copy / "prompts" / "eval.jsonl")


def test_a_campaign_that_starts_from_a_champion_tells_of_its_own_prompts(finished_copy: Path) -> None:
    second = started_from_champion(finished_copy)
    train = second / "prompts" / "train.jsonl"
    train.write_text("".join(train.read_text(encoding="utf-8").splitlines(keepends=True)[:8]), encoding="utf-8")
    records = run(second)
    facts = facts_of(second, records["round_1/checkpoints"], records["round_1/eval_reports"])
    assert (facts.prompts["train"], facts.prompts["train_hash"]) == (8, file_sha256(train))
    assert facts.lineage["policy"][0].startswith("tiny/policy/")


def test_a_report_of_other_weights_is_not_shown(finished_copy: Path, tmp_path: Path) -> None:
    assert "On 6 held-out prompts its reward is" in exported(finished_copy, tmp_path / "before")
    edit(finished_copy / "campaign.yaml", "training.learning_rate", 1e-4)
    new = run(finished_copy, ["round_1/checkpoints"])["round_1/checkpoints"]
    card = exported(finished_copy, tmp_path / "after")
    assert f"Content hash of the weights: `{new.content_hash}`." in card
    assert "The store has no eval report of these weights" in card
    assert "its reward is" not in card
    assert "12 train prompts" in card
    assert "Judge models, by content hash: judge `" in card
    assert "eval_reports" not in card
    assert "People labelled" not in card


def test_a_model_in_a_folder_is_named_without_where_it_lies(finished_home: Path, tiny_model: Path) -> None:
    checkpoint, report = record("tiny/round_1/checkpoints"), record("tiny/round_2/eval_reports")
    card = render_card(facts_of(finished_home, checkpoint, report))
    assert f'base_model: "{tiny_model.name}"\n' in card
    assert str(tiny_model.parent) not in card
