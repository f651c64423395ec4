"""A campaign whose judges compare, form a panel, and go by name: through all stages, plans, upkeep and lineage."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from rft_pipeline.campaign import load_campaign
from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.trace_rows import RolloutTrace
from rft_pipeline.pipeline import plan as planning
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.store import Home
from tests.judges.engines import Told
from tests.runs import edit, made, run
from tests.upkeep.small import collected, counts, verified

CRITERIA: list[dict[str, Any]] = [
    {"name": "best", "weight": 2.0, "judge": {"protocol": "listwise", "question": "Which is best?", "by": "strong"}},
    {
        "name": "kind",
        "judge": {
            "protocol": "panel",
            "penalty": 0.5,
            "members": [
                {"protocol": "binary", "question": "Is it kind?"},
                {"protocol": "binary", "question": "Is it kind?", "by": "strong"},
                {"protocol": "rule", "rule": {"name": "regex", "pattern": "e"}},
            ],
        },
    },
]


def answer(text: str) -> str:
    ids = re.findall(r"^(R[0-9A-F]{4}\d+):$", text, re.MULTILINE)
    return json.dumps({"reason": "so", "ranking": sorted(ids)}) if ids else "Yes"


@pytest.fixture
def askers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Told]:
    told = {"judge": Told(answer), "strong": Told(answer)}
    monkeypatch.setattr(JudgeEngines, "asker", lambda self, by: told[by])
    return told


@pytest.fixture
def comparing(tiny_campaign: Path) -> Path:
    (tiny_campaign / "rubric.yaml").write_text(yaml.safe_dump({"criteria": CRITERIA}), encoding="utf-8")
    strong = {"model": "served:strong-7b", "server": {"url": "http://127.0.0.1:9/v1"}}
    edit(tiny_campaign / "campaign.yaml", "judges", {"strong": strong})
    return tiny_campaign


def test_a_campaign_of_comparing_judges_runs_and_is_found_again_by_plan_upkeep_and_trace(
    comparing: Path, askers: dict[str, Told]
) -> None:
    records = run(comparing)
    scores = pl.read_parquet(records["round_1/judge_scores"].path("judge_scores.parquet"))
    best = scores.filter(criterion="best").join(
        pl.read_parquet(records["round_1/rollouts"].path("rollouts.parquet")).select("rollout_id", "prompt_id"),
        on="rollout_id",
    )
    assert best.group_by("prompt_id").agg(pl.col("score").mean())["score"].to_list() == pytest.approx([0.5] * 4)
    assert scores.filter(criterion="kind")["score"].is_between(0, 1).all()

    assert made(run(comparing)) == []
    campaign, home = load_campaign(comparing), Home.find()
    planned = planning.plan(campaign, home)
    assert {step.rows.make for step in planned.steps} == {0}
    assert verified().findings == []
    assert sum(counts(collected(yes=False)).values()) == 0

    held_out = pl.read_parquet(records["round_2/eval_reports"].path("eval_reports.parquet"))
    found = trace(home, held_out["rollout_id"][0])
    assert isinstance(found, RolloutTrace)
    assert {judgement.criterion for judgement in found.rollout.judgements} == {"best", "kind"}


def test_the_time_of_a_panel_that_was_never_judged_is_known_from_judges_like_its_members(
    comparing: Path, askers: dict[str, Told]
) -> None:
    run(comparing)
    renamed = [CRITERIA[0], {**CRITERIA[1], "name": "friendly"}]
    (comparing / "rubric.yaml").write_text(yaml.safe_dump({"criteria": renamed}), encoding="utf-8")
    edit(comparing / "campaign.yaml", "seed", 5)
    planned = planning.plan(load_campaign(comparing), Home.find())
    work = {step.key: step for step in planned.steps}["tiny/round_1/judge_scores"]
    assert work.work["judgements of friendly.2"] > 0
    assert planned.seconds is not None


def test_a_served_judge_may_move_and_be_renamed_without_being_asked_again(
    comparing: Path, askers: dict[str, Told]
) -> None:
    run(comparing, rounds=1)
    asked = len(askers["strong"].asked)
    edit(comparing / "campaign.yaml", "judges.strong.server.url", ["http://elsewhere:8000/v1", "http://x/v1"])
    assert made(run(comparing, rounds=1)) == []
    edit(
        comparing / "campaign.yaml", "judges", {"best": {"model": "served:strong-7b", "server": {"url": "http://x/v1"}}}
    )
    text = (comparing / "rubric.yaml").read_text(encoding="utf-8").replace("by: strong", "by: best")
    (comparing / "rubric.yaml").write_text(text, encoding="utf-8")
    askers["best"] = askers["strong"]
    run(comparing, rounds=1)
    assert len(askers["strong"].asked) == asked


def test_another_served_model_is_asked_anew_and_the_rest_is_kept(comparing: Path, askers: dict[str, Told]) -> None:
    run(comparing, rounds=1)
    weak, strong = len(askers["judge"].asked), len(askers["strong"].asked)
    edit(comparing / "campaign.yaml", "judges.strong.model", "served:strong-70b")
    records = run(comparing, rounds=1)
    rows = records["round_1/judge_scores"].rows
    assert (rows["made_best"], rows["made_kind.1"], rows["made_kind.3"]) == (16, 0, 0)
    assert rows["made_kind.2"] == 16
    assert len(askers["judge"].asked) == weak
    assert len(askers["strong"].asked) > strong
