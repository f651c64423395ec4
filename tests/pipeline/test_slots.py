"""A campaign whose prompts carry a context and a policy: judged, trained and edited."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from rft_pipeline.check import check_campaign
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.trace_rows import RolloutTrace
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.store import Home
from tests.judges.engines import Told
from tests.runs import edit, made, run
from tests.upkeep.small import verified

TEMPLATE = "Passages:\n{context}\nPolicy:\n{policy}\nAsked:\n{prompt}\nSaid:\n{reply}\n{question} {answer}\n"
POLICIES = ("Be kind.", "Be cold. {prompt}")
GROUNDED = {"name": "grounded", "judge": {"protocol": "binary", "question": "Is it right?", "template": "grounded.txt"}}
HAS_E = {"name": "has_an_e", "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": "e"}}}


@pytest.fixture
def asker(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told(lambda _: "Yes")
    monkeypatch.setattr(JudgeEngines, "asker", lambda self, by: told)
    return told


def rows_of(folder: Path, split: str) -> list[dict[str, Any]]:
    text = (folder / "prompts" / f"{split}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def write_rows(folder: Path, split: str, rows: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "prompts" / f"{split}.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture
def carrying(tiny_campaign: Path) -> Path:
    """The tiny campaign of one round, whose rows have a context, one of two policies, and a note."""
    (tiny_campaign / "grounded.txt").write_text(TEMPLATE, encoding="utf-8")
    (tiny_campaign / "rubric.yaml").write_text(yaml.safe_dump({"criteria": [GROUNDED, HAS_E]}), encoding="utf-8")
    edit(tiny_campaign / "campaign.yaml", "rounds", 1)
    edit(tiny_campaign / "campaign.yaml", "policy.system", "You are a person. {policy}")
    edit(tiny_campaign / "campaign.yaml", "reward.min_group_share", 0.0)
    for split in ("train", "eval"):
        rows = [
            {**row, "context": [f"The {row['id']} is good.", "{reply}"], "policy": POLICIES[place % 2], "note": "n"}
            for place, row in enumerate(rows_of(tiny_campaign, split))
        ]
        write_rows(tiny_campaign, split, rows)
    return tiny_campaign


def test_a_campaign_whose_rows_carry_context_and_policy_runs_and_judges_again_only_what_an_edit_shows(
    carrying: Path, asker: Told, tiny_engine: TransformersEngine
) -> None:
    home = Home.find()
    assert check_campaign(carrying, home.models, home.store).train_prompts == 12
    records = run(carrying)
    rollouts = pl.read_parquet(records["round_1/rollouts"].path("rollouts.parquet"))
    for row in rollouts.iter_rows(named=True):
        policy = json.loads(row["fields"])["policy"]
        asked = tiny_engine.tokenizer.decode(row["prompt_tokens"])
        assert f"You are a person. {policy}" in asked
    for request in asker.asked:
        [(_, text)] = request.messages
        assert "Passages:\n```\n[1] The " in text
        assert "\n[2] {reply}\n```\nPolicy:\n```\nBe " in text
    found = trace(home, rollouts["rollout_id"][0])
    assert isinstance(found, RolloutTrace)
    assert found.prompt.text is not None
    assert found.prompt.text.startswith("policy.system: You are a person. Be ")

    asked = len(asker.asked)
    for split in ("train", "eval"):
        write_rows(carrying, split, [{**row, "note": "other", "more": 1} for row in rows_of(carrying, split)])
    assert made(run(carrying)) == ["prompts"]
    assert len(asker.asked) == asked

    chosen = rollouts["prompt_id"][0]
    replies = rollouts.filter(prompt_id=chosen)["completion"].n_unique()
    topic = json.loads(rollouts["messages"][0])[-1]["content"]
    edited = [{**row, "context": "New."} if row["prompt"] == topic else row for row in rows_of(carrying, "train")]
    write_rows(carrying, "train", edited)
    again = run(carrying)
    assert len(asker.asked) - asked == replies
    assert (again["round_1/rollouts"].rows["made"], again["round_1/judge_scores"].rows["made_has_an_e"]) == (0, 0)
    assert verified().findings == []
