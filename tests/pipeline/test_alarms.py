"""The alarms in the pipeline: what a report says, what a stop changes, and that nothing changes without them."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rft_pipeline import models
from rft_pipeline.alarms.phrases import Phrase
from rft_pipeline.campaign import Sampling, load_campaign
from rft_pipeline.campaign.addresses import sampling_fingerprint
from rft_pipeline.engines import ScoreRequest, load
from rft_pipeline.lineage.index import Index
from rft_pipeline.lineage.rows import find_rollouts, rollout_facts
from rft_pipeline.pipeline import plan as planning
from rft_pipeline.stages import round_alarms as watching
from rft_pipeline.stages.graph import node, nodes
from rft_pipeline.store import Home, Record, RecordStore, judgements_table, rollouts_table
from rft_pipeline.store.rows import judgement_id
from tests.runs import edit, made, run
from tests.upkeep.small import collected, counts, verified

WATCHES = {
    "name": "kind",
    "judge": {
        "protocol": "cloze",
        "templates": ["The agent wrote: {reply} The tone of this message is"],
        "positive": ["warm"],
        "negative": ["cold"],
    },
}
ALARMS: dict[str, Any] = {"held_out": [WATCHES], "resamples": 100, "fixed_phrase_stop": 1.0}
"""The tiny model repeats itself, which stops nothing here."""
ANCHORS = [
    {"prompt": f"Where is parcel {i}?", "completion": text, "labels": {"polite": label, "relevant": label}}
    for i in range(8)
    for text, label in (("We are very sorry and will help you.", 1), ("No.", 0))
]


@pytest.fixture
def watched(finished_copy: Path) -> Path:
    """The finished tiny campaign, to which alarms are added."""
    lines = "".join(json.dumps(anchor) + "\n" for anchor in ANCHORS)
    (finished_copy / "anchors.jsonl").write_text(lines, encoding="utf-8")
    edit(finished_copy / "campaign.yaml", "anchors", "anchors.jsonl")
    edit(finished_copy / "campaign.yaml", "alarms", ALARMS)
    return finished_copy


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reply says that its policy is 20 nats from base, which the alarms stop."""
    told = pl.lit(20.0).alias("kl")
    monkeypatch.setattr(watching, "sequence_kl", lambda rows, base: rows.select("rollout_id", told))


def alarms_of(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(record.path("report.json").read_text(encoding="utf-8"))["alarms"]
    return found


def test_alarms_make_only_eval_reports_again_and_say_what_each_round_was_paid_for(watched: Path) -> None:
    records = run(watched)
    assert made(records) == ["round_1/eval_reports", "round_2/eval_reports", "promotion"]
    found = alarms_of(records["round_2/eval_reports"])
    assert [each["round"] for each in found["verdicts"]] == [1, 2]
    assert [each["round"] for each in found["scores"]] == [0, 1, 2]
    assert found["held_out"] == ["kind"]
    looked_at = {each["cause"] for each in found["verdicts"][1]["findings"]}
    assert {"over_optimisation", "unseen_gain", "length", "markdown", "length_growth"} <= looked_at
    assert {"distinct2", "repetition", "similarity", "kl", "judge_drift"} <= looked_at
    assert found["verdicts"][1]["anchors"]["polite"]["evidence"] == 1.0
    metrics = records["round_2/eval_reports"].metrics
    assert {"alarm_level", "held_out", "held_out_delta", "held_out_lower95", "kl"} <= metrics.keys()
    rows = pl.read_parquet(records["round_2/eval_reports"].path("eval_reports.parquet"))
    assert rows["held_out"].null_count() == 0
    assert made(run(watched)) == []
    assert verified().findings == []


def test_kl_to_base_is_estimated_on_replies_drawn_at_temperature_1_and_kept_like_all_rollouts(watched: Path) -> None:
    """The evaluation itself samples at another temperature: one more reply to each of two prompts is drawn."""
    edit(watched / "campaign.yaml", "alarms.kl_prompts", 2)
    campaign, home = load_campaign(watched), Home.find()
    report = run(watched)["round_2/eval_reports"]
    rows = pl.read_parquet(report.path("kl.parquet"))
    assert rows["round"].to_list() == [1, 1, 2, 2]
    held_out = pl.read_parquet(report.path("eval_reports.parquet"))
    assert not set(rows["rollout_id"]) & set(held_out["rollout_id"])
    there = rollouts_table(home.store).rows(pl.col("rollout_id").is_in(rows["rollout_id"].to_list())).collect()
    drawn = sampling_fingerprint(
        Sampling(max_new_tokens=8), campaign.policy.system, campaign.seed, campaign.policy.system_in
    )
    assert there["sampling"].to_list() == [drawn] * 4
    own = there.filter(policy=rows.filter(round=2)["policy"][0])
    folder = models.resolve(campaign.policy.model, home.models, campaign.folder).folder
    with closing(load.load_engine(folder, campaign.evaluation.runtime)) as base:
        requests = [ScoreRequest(tuple(a), tuple(b)) for a, b in own.select("prompt_tokens", "tokens").iter_rows()]
        scored = base.score(requests)
    ratios = [sum(mine) - sum(each.token_logprobs) for mine, each in zip(own["logprobs"], scored, strict=True)]
    assert report.metrics["kl"] == pytest.approx(sum(ratios) / 2, abs=1e-5)
    assert report.metrics["kl_lower95"] <= report.metrics["kl"] <= report.metrics["kl_upper95"]
    assert verified().findings == []
    index = Index(home)
    (facts,) = rollout_facts(index, find_rollouts(index, pl.col("rollout_id") == own["rollout_id"][0]))
    assert report.address in facts.records
    assert made(run(watched)) == []


def test_a_plan_counts_the_replies_that_kl_is_estimated_on(watched: Path) -> None:
    edit(watched / "campaign.yaml", "alarms.kl_prompts", 2)
    steps = {step.key: step for step in planning.plan(load_campaign(watched), Home.find()).steps}
    assert steps["tiny/round_1/eval_reports"].work["rollouts"] == 2


def test_an_evaluation_at_temperature_1_is_what_kl_is_estimated_on(watched: Path) -> None:
    edit(watched / "campaign.yaml", "evaluation.sampling", {"temperature": 1.0, "max_new_tokens": 8})
    edit(watched / "campaign.yaml", "alarms.kl_prompts", 1)
    report = run(watched, ["round_1/eval_reports"])["round_1/eval_reports"]
    held_out = pl.read_parquet(report.path("eval_reports.parquet")).filter(round=1)
    assert pl.read_parquet(report.path("kl.parquet"))["rollout_id"].to_list() == held_out["rollout_id"].to_list()


def test_without_prompts_for_it_there_is_no_kl(watched: Path) -> None:
    edit(watched / "campaign.yaml", "alarms.kl_prompts", 0)
    report = run(watched, ["round_1/eval_reports"])["round_1/eval_reports"]
    assert "kl" not in {each["cause"] for each in alarms_of(report)["verdicts"][0]["findings"]}
    assert "kl" not in report.metrics


def test_phrases_of_a_round_are_tried_on_bad_anchors(watched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Phrase("so sorry", 1.0, 4.0, 9, 1, 0.5, 0.0, ("We are so sorry.",))
    monkeypatch.setattr(watching, "phrases", lambda now, base, most: [found])
    (said,) = alarms_of(run(watched, ["round_1/eval_reports"])["round_1/eval_reports"])["verdicts"]
    (phrase,) = said["phrases"]
    effect = phrase["on_bad_anchors"]
    assert effect["anchors"] == 8
    assert effect["shift"]["lower95"] <= effect["shift"]["mean"]
    assert any("Inserted into 8 bad anchors, it adds" in each["sentence"] for each in said["findings"])


def test_what_only_watches_trains_nothing(watched: Path) -> None:
    records = run(watched)
    batch = pl.read_parquet(records["round_1/reward_batches"].path("reward_batches.parquet"))
    assert "kind" not in batch["scores"].struct.fields
    scores = pl.read_parquet(records["round_1/judge_scores"].path("judge_scores.parquet"))
    assert "kind" not in scores["criterion"].unique()


def test_a_stop_sends_the_next_round_back_to_base(watched: Path, far: None) -> None:
    records = run(watched)
    first = records["round_1/eval_reports"]
    (said,) = alarms_of(first)["verdicts"]
    assert (said["level"], said["causes"][0]) == ("stop", "kl")
    assert first.next_start == 0
    assert records["round_2/rollouts"].upstream["policy"] == records["policy"].address
    assert records["round_2/rollouts"].payload["inputs"]["policy"] == records["policy"].content_hash
    assert records["round_2/checkpoints"].upstream["policy"] == records["policy"].address
    (_, second) = alarms_of(records["round_2/eval_reports"])["verdicts"]
    assert second["started_from"] == 0
    assert made(run(watched)) == []
    planned = planning.plan(load_campaign(watched), Home.find())
    assert {step.action for step in planned.steps} == {"skip"}
    assert verified().findings == []


def test_without_a_stop_a_round_is_the_one_it_was_before_there_were_alarms(watched: Path) -> None:
    before = RecordStore(Home.find().store).current("tiny/round_2/checkpoints")
    assert before is not None
    after = run(watched)["round_2/checkpoints"]
    assert (after.fingerprint, after.cached) == (before.fingerprint, True)


def test_a_plan_waits_for_the_report_that_chooses(watched: Path) -> None:
    steps = {step.key: step for step in planning.plan(load_campaign(watched), Home.find()).steps}
    assert steps["tiny/round_2/rollouts"].reasons == ["an earlier stage runs: round_1/eval_reports"]
    assert steps["tiny/round_1/eval_reports"].work["judgements of kind"] > 0


def test_rules_alone_are_watched_without_a_held_out_judge_or_anchors(finished_copy: Path) -> None:
    edit(finished_copy / "campaign.yaml", "alarms", {"resamples": 100})
    found = alarms_of(run(finished_copy)["round_1/eval_reports"])
    causes = {each["cause"] for each in found["verdicts"][0]["findings"]}
    assert {"length", "markdown", "length_growth", "distinct2", "repetition", "similarity", "kl"} <= causes
    assert not causes & {"over_optimisation", "unseen_gain", "judge_drift"}


def test_gc_keeps_what_the_alarms_read(watched: Path) -> None:
    run(watched)
    collected(yes=True)
    assert made(run(watched)) == []
    assert sum(counts(collected(yes=False)).values()) == 0


def test_gc_keeps_what_the_judges_said_of_anchors_and_of_phrases_in_them(watched: Path) -> None:
    report = run(watched)["round_2/eval_reports"]
    asked = pl.read_parquet(report.path("asked.parquet"))
    assert asked.filter(criterion=load_campaign(watched).rubric.criteria[0].question).height >= len(ANCHORS)
    wanted = pl.DataFrame({"judgement_id": [judgement_id(*row) for row in asked.iter_rows()]})
    table = judgements_table(Home.find().store)
    assert table.missing(wanted).is_empty()
    collected(yes=True)
    assert table.missing(wanted).is_empty()


def test_a_plan_counts_the_anchors_that_are_to_be_judged_and_tells_of_phrases(watched: Path) -> None:
    def report() -> planning.Step:
        steps = {step.key: step for step in planning.plan(load_campaign(watched), Home.find()).steps}
        return steps["tiny/round_1/eval_reports"]

    step = report()
    assert {name: step.work[f"judgements of {name}"] for name in ("polite", "relevant")} == dict.fromkeys(
        ("polite", "relevant"), len(ANCHORS)
    )
    # 2 criteria, 3 phrases and as many controls, 8 bad anchors
    assert step.reasons[-1] == "up to 96 more judgements, of phrases that raise the reward"
    run(watched)
    edit(watched / "campaign.yaml", "alarms.max_repetition", 2.5)
    step = report()
    assert step.action == "run"
    assert not {"judgements of polite", "judgements of relevant"} & step.work.keys()


def test_with_alarms_a_round_follows_the_report_of_the_one_before(watched: Path) -> None:
    campaign = load_campaign(watched)
    assert node(campaign, "round_1/rollouts").upstream["policy"] == "policy"
    assert node(campaign, "round_2/rollouts").upstream["policy"] == "round_1/eval_reports"
    assert node(campaign, "round_2/checkpoints").upstream["policy"] == "round_1/eval_reports"
    assert node(campaign, "round_2/eval_reports").upstream["before"] == "round_1/eval_reports"
    names = [each.name for each in nodes(campaign)]
    assert all(above in names[: names.index(each.name)] for each in nodes(campaign) for above in each.upstream.values())
