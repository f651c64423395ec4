"""`audit.by_group`: a judge's noise within a group weighs its criterion."""

import re
from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.cli import show_audit
from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.trace_rows import RolloutTrace
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.store import Home
from tests.judges.engines import Told
from tests.pipeline.audited import AUDIT, honest, verdicts
from tests.runs import edit, made, run

UP_TO_REWARD = [*("prompts", "policy"), *AUDIT, *(f"round_1/{each}" for each in ("rollouts", "judge_scores"))]
REWARDED = [*UP_TO_REWARD, "round_1/reward_batches"]


def sometimes_wrong(text: str) -> str:
    """Honest, but for one reply in five or so."""
    reply = re.findall(r"replied:\n`+\n(.*?)\n`+\n", text, re.DOTALL)[0]
    return {"Yes": "No", "No": "Yes"}[honest(text)] if sum(map(ord, reply)) % 5 == 0 else honest(text)


def test_by_group_a_judges_noise_weighs_its_criterion_and_asking_for_it_asks_no_judge(
    audited: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(sometimes_wrong)
    monkeypatch.setattr(JudgeEngines, "asker", lambda self, by: told)
    before = run(audited, REWARDED)
    asked = len(told.asked)
    edit(audited / "campaign.yaml", "audit.by_group", True)
    records = run(audited, REWARDED)
    assert made(records) == ["judge_audit", "round_1/reward_batches"]
    assert len(told.asked) == asked

    found = verdicts(records["judge_audit"])
    p, noise = found["kind"]["noise"]["flips"], found["kind"]["noise"]["variance"]["mean"]
    assert p == pytest.approx((1 - found["kind"]["youden_j"]["mean"]) / 2)
    assert (noise, 0.05 < p < 0.4) == (pytest.approx(p * (1 - p)), True)
    batch = pl.read_parquet(records["round_1/reward_batches"].path("reward_batches.parquet"))
    for _, group in batch.group_by("prompt_id"):
        scores = group["scores"].struct.field("kind").to_numpy()
        expected = max(0.0, 1 - noise / scores.var()) ** 0.5 if scores.var() else 0.0
        assert group["group_weights"].to_list() == [{"kind": pytest.approx(expected)}] * 4  # the rule has no noise
    metrics = records["round_1/reward_batches"].metrics
    assert set(metrics) - set(before["round_1/reward_batches"].metrics) == {"group_weight_kind"}
    assert records["round_1/reward_batches"].rows["groups_within_noise"] <= 4
    old = pl.read_parquet(before["round_1/reward_batches"].path("reward_batches.parquet"))
    assert old["reward"].equals(batch["reward"])
    assert not old["advantage"].equals(batch["advantage"])

    traced = trace(Home.find(), batch["rollout_id"][0])
    assert isinstance(traced, RolloutTrace)
    weights = {each.address: each.group_weights for each in traced.rollout.batches}
    assert weights == {
        before["round_1/reward_batches"].address: {},
        records["round_1/reward_batches"].address: batch["group_weights"][0],
    }
    show_audit.audited(Home.find(), load_campaign(audited), as_json=False)
    assert f"noise within a group: {p:.0%} of its verdicts are wrong" in " ".join(capsys.readouterr().out.split())
    assert "noise within a group: " in records["judge_audit"].path("judge_audit.html").read_text(encoding="utf-8")

    edit(audited / "campaign.yaml", "audit.by_group", False)
    back = run(audited, REWARDED)
    assert made(back) == []
    assert [each.fingerprint for each in back.values()] == [each.fingerprint for each in before.values()]
