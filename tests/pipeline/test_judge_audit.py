"""The audit as a stage: judges the anchors, writes its page, and takes weight from the reward."""

import json
import re
from pathlib import Path

import polars as pl
import pytest
import yaml

from rft_pipeline.campaign import load_campaign
from rft_pipeline.cli import show_audit
from rft_pipeline.errors import GateError
from rft_pipeline.labels.exports import draw_export
from rft_pipeline.labels.files import write_export
from rft_pipeline.labels.importing import import_labels
from rft_pipeline.labels.reading import read_filled
from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.trace_rows import RolloutTrace
from rft_pipeline.pipeline import plan as planning
from rft_pipeline.pipeline.card import card_facts
from rft_pipeline.pipeline.champion import promote
from rft_pipeline.report.card import render_card
from rft_pipeline.stages.graph import nodes
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.stages.promotion import decision_of
from rft_pipeline.store import Home
from tests.assets.test_automation import launched, look
from tests.judges.engines import Told
from tests.pipeline.audited import AUDIT, RUBRIC, verdicts
from tests.report.narrow import wrong_labels
from tests.runs import edit, made, run
from tests.upkeep.small import collected, counts, verified


def test_a_judge_that_agrees_trains_and_a_coin_only_watches(audited: Path) -> None:
    record = run(audited, AUDIT)["judge_audit"]
    found = verdicts(record)
    assert (found["kind"]["power"], found["kind"]["weight"]) == ("trains", 1.0)
    assert found["kind"]["youden_j"]["mean"] == 1.0
    assert (found["loved"]["power"], found["loved"]["weight"]) == ("monitor", 0.0)
    assert found["loved"]["faults"] == ["chance"]
    assert record.rows["refused"] == 1
    page = record.path("judge_audit.html").read_text(encoding="utf-8")
    assert "chance: separates good from bad no better than chance" in page
    assert "Rules and judges of the alarms are not audited" in page


def test_what_a_judge_has_not_earned_is_taken_from_the_reward(audited_made: Path) -> None:
    records = run(audited_made)
    batch = pl.read_parquet(records["round_1/reward_batches"].path("reward_batches.parquet"))
    scores = batch["scores"].struct.unnest()
    expected = (scores["kind"] + scores["has_an_e"]) / 2
    assert batch["reward"].to_list() == pytest.approx(expected.to_list())
    assert scores["loved"].null_count() == 0
    traced = trace(Home.find(), batch["rollout_id"][0])
    assert isinstance(traced, RolloutTrace)
    assert [each.weights for each in traced.rollout.batches] == [{"kind": 0.5, "loved": 0.0, "has_an_e": 0.5}]
    assert made(run(audited_made)) == []
    assert verified().findings == []
    assert sum(counts(collected(yes=False)).values()) == 0
    assert {node.name for node in nodes(load_campaign(audited_made)) if "judge_audit" in node.upstream} == {
        "round_1/reward_batches",
        "round_1/eval_reports",
        "promotion",
    }


def test_labels_that_change_no_verdict_make_nothing_downstream_again(audited_made: Path) -> None:
    path = audited_made / "anchors.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[1:], lines[0]]) + "\n", encoding="utf-8")
    assert made(run(audited_made)) == ["judge_audit"]


def relabelled(folder: Path) -> None:
    path = folder / "anchors.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"loved": 1', '"loved": 0', 1), encoding="utf-8")


def test_a_changed_label_begins_where_a_changed_rubric_would(audited: Path) -> None:
    edit(audited / "campaign.yaml", "rounds", 2)
    run(audited)
    relabelled(audited)
    campaign = load_campaign(audited)
    planned = planning.plan(campaign, Home.find())
    assert planned.first_round == 2
    (step,) = (step for step in planned.steps if step.key == "tiny/judge_audit")
    assert step.reasons == ["the anchors changed"]


def test_the_plan_counts_what_the_audit_asks(audited: Path) -> None:
    def counted() -> int:
        steps = {step.key: step for step in planning.plan(load_campaign(audited), Home.find()).steps}
        return steps["tiny/judge_audit"].rows.make

    # 48 anchors, six of them edited by each probe, and asked about twice
    expected = counted()
    assert run(audited, AUDIT)["judge_audit"].rows["made"] == expected
    relabelled(audited)  # what was judged is not judged again
    assert counted() == 0
    assert run(audited, AUDIT)["judge_audit"].rows["made"] == 0


def test_the_sensor_notices_a_changed_label_once(audited_made: Path) -> None:
    before = look(None)
    assert before.skip_message == "rubric, prompts, labels, anchors did not change"
    relabelled(audited_made)
    tick = look(before.cursor)
    assert [reason for reason, _ in launched(tick)] == ["anchors changed"]
    assert launched(look(tick.cursor)) == []


def test_nothing_trains_when_no_judge_has_earned_it(audited: Path) -> None:
    only = [each for each in RUBRIC if each["name"] == "loved"]
    (audited / "rubric.yaml").write_text(yaml.safe_dump({"criteria": only}), encoding="utf-8")
    text = (audited / "anchors.jsonl").read_text(encoding="utf-8")
    (audited / "anchors.jsonl").write_text(re.sub(r'"kind": [01], ', "", text), encoding="utf-8")
    with pytest.raises(GateError, match="the audit lets no criterion train"):
        run(audited)


def labelled_by_people(folder: Path, tmp_path: Path, *annotators: str) -> None:
    """Every other of round 1's 16 rollouts is kind by all; Ben differs on the first of them."""
    home = Home.find()
    drawn = draw_export(load_campaign(folder), home, 16)
    path = write_export(drawn, home.store, tmp_path, "jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for name in annotators:
        for number, row in enumerate(rows):
            kind = (number % 2) if (name, number) != ("Ben", 0) else 1
            row |= {"annotator": name, "labels": {"kind": kind}}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        import_labels(load_campaign(folder), home.store, read_filled(path), skip_wrong=False)


def test_the_model_card_tells_what_the_audit_found_and_what_people_said(audited: Path, tmp_path: Path) -> None:
    edit(audited / "campaign.yaml", "description", "Answers mail about parcels.")
    edit(audited / "campaign.yaml", "promotion.margin", 0.9)  # which no round passes
    run(audited)
    labelled_by_people(audited, tmp_path, "Anna")
    records = run(audited)
    campaign, home = load_campaign(audited), Home.find()
    new = promote(campaign, home, 1, force=True, why="kinder on the phone")
    report = records["round_1/eval_reports"]
    card = render_card(card_facts(campaign, home, records["round_1/checkpoints"], report, new.why, forced=new.forced))
    people = json.loads(report.path("report.json").read_text(encoding="utf-8"))["people"]["kind"]
    found = verdicts(records["judge_audit"])
    failed = decision_of(records["promotion"])["rounds"][0]["bounds"][0]["said"]
    for part in (
        "Answers mail about parcels.",
        "**A person forced this promotion; the round did not have to pass the bounds.** Reason: kinder on the phone",
        "Compared with base on the same held-out prompts:",
        f"| **no** | {failed} |",
        f"| kind | {found['kind']['power']} |",
        f"| {found['kind']['good']} / {found['kind']['bad']} |",
        f"- loved: {found['loved']['reason']}",
        "- loved: its judge failed the audit, so the criterion did not train.",
        f"| kind | 16 | {people['judge']['mean']:.3f} (",
        "| 0.500 (",  # half of what Anna labelled is kind
        "The campaign has no alarms",
        records["judge_audit"].address,
    ):
        assert part in card, card
    assert "not audited" not in card
    assert "None" not in card


def test_peoples_labels_join_the_anchors_and_stand_beside_them(audited_made: Path, tmp_path: Path) -> None:
    labelled_by_people(audited_made, tmp_path, "Anna", "Ben")
    record = run(audited_made, AUDIT)["judge_audit"]
    found = verdicts(record)
    people = found["kind"]["from_people"]
    assert people["measured"] + people["fitted"] == 16
    assert (people["before"]["good"], people["before"]["bad"]) == (24, 24)
    assert (people["before"]["power"], people["before"]["youden_j"]["mean"]) == ("trains", 1.0)
    assert found["kind"]["good"] + found["kind"]["bad"] == 48 + people["measured"]
    assert found["kind"]["youden_j"]["mean"] < 1.0  # the judge calls none of the rollouts kind
    (pair,) = people["people"]["pairs"]
    assert (pair["annotators"], pair["rollouts"], pair["agreement"]["mean"]) == (["Anna", "Ben"], 16, 15 / 16)
    assert found["loved"]["from_people"] is None
    assert made(run(audited_made, AUDIT)) == []
    page = record.path("judge_audit.html").read_text(encoding="utf-8")
    assert "Effect of people's labels of rollouts" in page
    assert wrong_labels(page) == []
    assert set(record.payload["inputs"]) == {"anchors", "labels", "judge"}


def test_rft_audit_shows_anchors_alone_and_with_labels_side_by_side(
    audited_made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled_by_people(audited_made, tmp_path, "Anna", "Ben")
    people = verdicts(run(audited_made, AUDIT)["judge_audit"])["kind"]["from_people"]
    monkeypatch.setattr(show_audit.out, "width", 200)
    show_audit.audited(Home.find(), load_campaign(audited_made), as_json=False)
    printed = capsys.readouterr()
    said = " ".join(printed.out.split())
    assert "loved: monitor, is shown and trains nothing - J" in said
    assert "to do: try other wordings (rft rubric suggest tiny --criterion loved) or another protocol" in said
    assert "rules are not audited: has_an_e; `rft check tiny` compares them with the labels" in printed.err
    assert "kind anchors trains 1.00 24/24 1.00 (1.00–1.00)" in said
    assert f"and {people['measured']} rollouts" in said
    assert "between people: κ 0.88, Krippendorff α 0.88" in said
    assert "asked twice: the scores of 6 replies differ by 0.0000 on average and 0.0000 at most" in said


def test_without_labels_nothing_of_them_is_in_the_fingerprint(audited: Path) -> None:
    assert set(run(audited, AUDIT)["judge_audit"].payload["inputs"]) == {"anchors", "judge"}


def test_a_judge_is_asked_twice_and_the_second_answers_are_kept(audited: Path) -> None:
    record = run(audited, AUDIT)["judge_audit"]
    found = verdicts(record)["kind"]["retest"]
    assert (found["replies"], found["largest"], found["crossed"]["mean"], found["deterministic"]) == (6, 0, 0, False)
    assert "anchors do not say which model wrote" in verdicts(record)["kind"]["not_measured"]["own_family"]
    assert sum(counts(collected(yes=False)).values()) == 0


@pytest.mark.parametrize("protocol", ["pairwise", "listwise"])
def test_a_comparing_judge_that_follows_the_order_is_refused_by_name(
    audited: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """It is right about kindness except that it prefers what is shown first, always."""
    only = [{"name": "kind", "judge": {"protocol": protocol, "question": "Which is kinder?"}}]
    (audited / "rubric.yaml").write_text(yaml.safe_dump({"criteria": only}), encoding="utf-8")
    text = (audited / "anchors.jsonl").read_text(encoding="utf-8")
    (audited / "anchors.jsonl").write_text(re.sub(r', "loved": [01]', "", text), encoding="utf-8")
    monkeypatch.setattr(JudgeEngines, "asker", lambda self, by: Told(first_shown))
    edit(audited / "campaign.yaml", "audit.probed_anchors", 24)
    found = verdicts(run(audited, AUDIT)["judge_audit"])["kind"]
    assert {"position", "order"} <= set(found["faults"])
    assert (found["order"]["flips"]["mean"], found["order"]["first"]["mean"]) == (1.0, 0.5)
    assert verified().findings == []


def first_shown(text: str) -> str:
    ids = re.findall(r"^(R[0-9A-F]{4}\d+):$", text, re.MULTILINE)
    return json.dumps({"reason": "", "ranking": ids}) if ids else "A"
