"""A policy that thinks, from its rollouts to the labels' export: only the table of rollouts has its thoughts."""

import json
from pathlib import Path

import polars as pl
import pytest
from transformers import AutoTokenizer

from rft_pipeline.campaign import load_campaign
from rft_pipeline.check import check_campaign
from rft_pipeline.labels.exports import draw_export, drawn_rows
from rft_pipeline.lineage.index import Index
from rft_pipeline.lineage.rows import find_rollouts, rollout_facts
from rft_pipeline.store import Home, Record, rollouts_table
from tests.runs import edit, made, run

SOURCES = ["prompts", "rubric", "policy"]
CLOSE = "</think>"
LENGTHS = "def letters(rollout):\n    return min(1.0, len(rollout.completion) / 100)\n"
"""A score that sees the whole text which rules get."""


def table_of(record: Record) -> pl.DataFrame:
    return pl.read_parquet(record.path(f"{record.payload['stage']}.parquet"))


def thinking(folder: Path, model: Path, how: str = "strip") -> Path:
    """The campaign with the model that thinks as its policy: at most 5 tokens of thought, 8 of answer."""
    (folder / "own.py").write_text(LENGTHS, encoding="utf-8")
    letters = {"protocol": "rule", "rule": {"name": "python", "function": "own:letters"}}
    edit(folder / "rubric.yaml", "criteria.2", {"name": "letters", "judge": letters})
    for where, value in {
        "policy.model": str(model),
        "policy.thinking": how,
        "rollouts.sampling.max_thinking_tokens": 5,
        "evaluation.sampling.max_thinking_tokens": 5,
        "training.mask_thinking": True,
        "checks.max_truncated_share": 1.0,
        "reward.min_group_share": 0.0,
        "rounds": 1,
    }.items():
        edit(folder / "campaign.yaml", where, value)
    return folder


def test_thoughts_stay_in_the_table_and_answers_go_everywhere_else(on_policy: Path, thinking_model: Path) -> None:
    folder = thinking(on_policy, thinking_model)
    records = run(folder)
    rows = table_of(records["round_1/rollouts"])
    tokenizer = AutoTokenizer.from_pretrained(thinking_model)
    closed = 0
    for row in rows.iter_rows(named=True):
        thought = tokenizer.decode(row["tokens"][: row["thought_tokens"]], skip_special_tokens=True)
        assert tokenizer.decode(row["prompt_tokens"]).endswith("<think>\n")
        assert 0 < row["thought_tokens"] <= 5
        assert row["thought"] == thought.removesuffix(CLOSE).strip()
        if thought.endswith(CLOSE):
            closed += 1
            answer = tokenizer.decode(row["tokens"][row["thought_tokens"] :], skip_special_tokens=True)
            assert row["completion"] == answer.lstrip()
        else:
            assert (row["completion"], row["finish_reason"]) == ("", "length")
    assert 0 < closed < rows.height
    _rules_and_judges_saw_the_answer(records, rows)
    _lengths_are_told_apart(records, rows)
    _people_get_the_answer(folder)
    assert made(run(folder)) == []


def _rules_and_judges_saw_the_answer(records: dict[str, Record], rows: pl.DataFrame) -> None:
    scores = table_of(records["round_1/judge_scores"])
    both = rows.join(scores.filter(criterion="letters"), on="rollout_id")
    assert both["score"].to_list() == pytest.approx([min(1.0, len(text) / 100) for text in both["completion"]])
    empty = scores.join(rows.filter(completion="").select("rollout_id"), on="rollout_id", how="semi")
    polite = empty.filter(criterion="polite")
    assert set(polite.select("score", "reason").iter_rows()) == {(0.0, "empty reply")}


def _lengths_are_told_apart(records: dict[str, Record], rows: pl.DataFrame) -> None:
    total, thoughts = rows["tokens"].list.len().mean(), rows["thought_tokens"].mean()
    metrics = records["round_1/rollouts"].metrics
    assert metrics["thought_length_mean"] == pytest.approx(thoughts)
    assert metrics["length_mean"] + metrics["thought_length_mean"] == pytest.approx(total)
    (line, *_) = records["round_1/checkpoints"].path("generations.jsonl").open()
    assert 0 < json.loads(line)["thought_length_mean"] <= 5
    report = records["round_1/eval_reports"]
    held_out = table_of(report).filter(round=1)
    stored = json.loads(report.path("report.json").read_text())["rounds"][1]
    assert stored["thought_length"]["mean"] == pytest.approx(held_out["thought_tokens"].mean())
    assert stored["length"]["mean"] == pytest.approx(
        (held_out["tokens"].list.len() - held_out["thought_tokens"]).mean()
    )
    assert stored["length"]["mean"] <= 8
    assert "Mean thought" in report.path("report.html").read_text()


def _people_get_the_answer(folder: Path) -> None:
    home = Home.find()
    drawn = drawn_rows(draw_export(load_campaign(folder), home, 8), home.store)
    stored = rollouts_table(home.store).rows(pl.col("rollout_id").is_in(drawn["rollout_id"].implode())).collect()
    assert dict(drawn.select("rollout_id", "completion").iter_rows()) == dict(
        stored.select("rollout_id", "completion").iter_rows()
    )
    index = Index(home)
    facts = rollout_facts(index, find_rollouts(index, pl.col("thought") != ""), "tiny")
    assert facts
    assert all(each.thought for each in facts)


def sampled(folder: Path) -> pl.DataFrame:
    return table_of(run(folder, [*SOURCES, "round_1/rollouts"])["round_1/rollouts"])


def test_a_kept_thought_is_part_of_the_reply_and_of_its_identity(tiny_campaign: Path, thinking_model: Path) -> None:
    folder = thinking(tiny_campaign, thinking_model)
    stripped = sampled(folder)
    edit(folder / "campaign.yaml", "policy.thinking", "keep")
    kept = sampled(folder)
    assert kept["tokens"].to_list() == stripped["tokens"].to_list()
    assert not set(kept["rollout_id"]) & set(stripped["rollout_id"])
    for whole, answer, thought in zip(kept["completion"], stripped["completion"], stripped["thought"], strict=True):
        assert whole.startswith("<think>")
        assert thought in whole
        assert whole.endswith(answer)


def test_a_policy_that_may_not_think_gets_a_closed_thought(tiny_campaign: Path, thinking_model: Path) -> None:
    rows = sampled(thinking(tiny_campaign, thinking_model, "off"))
    tokenizer = AutoTokenizer.from_pretrained(thinking_model)
    assert all(tokenizer.decode(prompt).endswith(f"{CLOSE}\n\n") for prompt in rows["prompt_tokens"])
    assert set(rows["thought_tokens"]) == {0}
    assert rows["tokens"].list.len().max() <= 8


def warnings(folder: Path) -> str:
    return "\n".join(check_campaign(folder, Home.find().models, Home.find().store).warnings)


def test_check_asks_for_a_budget_of_thoughts(tiny_campaign: Path, thinking_model: Path) -> None:
    folder = thinking(tiny_campaign, thinking_model)
    assert "max_thinking_tokens" not in warnings(folder)
    edit(folder / "campaign.yaml", "rollouts.sampling", {"max_new_tokens": 8})
    assert "rollouts.sampling.max_thinking_tokens: not set" in warnings(folder)
    assert "thought and answer share 8 tokens" in warnings(folder)
    edit(folder / "campaign.yaml", "policy.thinking", "off")
    assert "max_thinking_tokens" not in warnings(folder)
