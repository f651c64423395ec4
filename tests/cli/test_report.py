"""`rft report`: as JSON with alarms, an audit and generations, and with samples of replies."""

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.audit.stored import AUDIT_FILE, audited_in
from rft_pipeline.stages import round_alarms
from rft_pipeline.store import Home, RecordStore
from tests.cli.small import Rft, execute_steps_here, printed, rft_process
from tests.pipeline.test_alarms import ANCHORS
from tests.runs import edit, run


def test_report_as_json_holds_alarms_verdicts_and_generations(
    rft: Rft, on_policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ten_nats = pl.lit(10.0).alias("kl")  # of which the alarms warn
    monkeypatch.setattr(round_alarms, "sequence_kl", lambda rows, base: rows.select("rollout_id", ten_nats))
    lines = "".join(json.dumps(anchor) + "\n" for anchor in ANCHORS)
    (on_policy / "anchors.jsonl").write_text(lines, encoding="utf-8")
    settings = {
        "rounds": 1,
        "anchors": "anchors.jsonl",
        "audit": {"probed_anchors": 2, "resamples": 200},
        "alarms": {"resamples": 100, "kl_prompts": 2, "min_distinct2": 0.0, "max_repetition": 1000},
        "reward": {"min_group_share": 0.0},
    }
    for name, value in settings.items():
        edit(on_policy / "campaign.yaml", name, value)
    records = run(on_policy)
    report = json.loads(rft("report", "tiny", "--json").out)

    (verdict,) = json.loads(records["round_1/eval_reports"].path("report.json").read_text())["alarms"]["verdicts"]
    assert report["alarms"]["level"] == verdict["level"] == "warn"
    assert " ".join(report["alarms"]["reasons"]) == verdict["reason"]
    assert [each["round"] for each in report["alarms"]["rounds"]] == [1]

    audited = json.loads(records["judge_audit"].path("judge_audit.json").read_text())
    assert report["audit"] == {each["criterion"]: each["power"] for each in audited}
    assert report["kept"] == {each["criterion"]: each["weight"] for each in audited}
    assert set(report["audit"]) == {"polite", "relevant"}

    (generations,) = report["generations"]
    assert (generations["round"], generations["generations"], len(generations["reward"])) == (1, 4, 4)
    batch = records["round_1/reward_batches"].metrics
    assert sum(generations["reward"]) / 4 == pytest.approx(batch["reward_mean"])

    said = rft("report", "tiny").out
    assert "alarms, round 1: warn: " in said
    assert report["reweighted"] is None

    earlier = records["round_1/eval_reports"]
    audit = records["judge_audit"].path("judge_audit.json")
    copies = {}
    for record in (records["judge_audit"], earlier):
        folder = record.folder.with_name("0123456789abcdef")
        shutil.copytree(record.folder, folder)
        text = (folder / "record.json").read_text(encoding="utf-8").replace(record.fingerprint, folder.name)
        text = text.replace(record.created, "2020-01-01T00:00:00+00:00")
        (folder / "record.json").write_text(text.replace(records["judge_audit"].fingerprint, folder.name))
        copies[record.payload["stage"]] = folder
    assert rft("report", "tiny", "--json").code == 0
    was = [{**each, "weight": 0.25} for each in audited]
    (copies["judge_audit"] / audit.name).write_text(json.dumps(was), encoding="utf-8")
    said = " ".join(rft("report", "tiny").out.split())
    assert "by the audit's earlier verdict (tiny/round_1/eval_reports/0123456789abcdef)" in said
    assert re.search(r"the parts of the weights that count changed, polite 25% → \d+%", said)


def test_an_audit_makes_only_what_it_reads(rft: Rft, on_policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(json.dumps(anchor) + "\n" for anchor in ANCHORS)
    (on_policy / "anchors.jsonl").write_text(lines, encoding="utf-8")
    edit(on_policy / "campaign.yaml", "anchors", "anchors.jsonl")
    edit(on_policy / "campaign.yaml", "audit", {"probed_anchors": 2, "resamples": 200})
    execute_steps_here(monkeypatch)
    said = rft("audit", "tiny")
    assert said.code == 0, said.err
    assert "round_1" not in said.err
    assert re.search(r"^  last run  audit finished \d", rft("status").out, re.MULTILINE)
    assert "  stale     13 of 16 stages; prompts: never made; `rft run tiny` makes them" in rft("status").out
    store = Home.find().store / "tiny"
    assert {path.name for path in store.iterdir() if path.is_dir()} == {"rubric", "labels", "judge_audit"}
    for more in ((), ("--suggest",)):
        printed("audit", rft("audit", "tiny", "--json", *more))
    said = rft("audit", "tiny", "--suggest")
    assert said.code == 0
    assert re.search(r"^polite: now squash: \{offset: 0\.000, scale: .*\}$", said.out, re.MULTILINE), said.out
    assert "has_an_e" not in said.out

    [record] = RecordStore(Home.find().store).all("tiny/judge_audit")
    fitted = {
        "squash": {"offset": 0.1, "scale": 0.5},
        "calibration_error": {"before": 0.3, "after": 0.1, "measured_on": "them"},
    }
    audited = [{**each, **fitted} for each in audited_in(record)]  # what a random judge gets depends on the CPU
    record.path(AUDIT_FILE).write_text(json.dumps(audited), encoding="utf-8")
    said = rft("audit", "tiny", "--suggest")
    assert "  do not rely on it yet: 8 good and 8 bad scored replies to 8 prompts; a verdict needs 10" in said.out
    audited = [{**each, "weight": 0.25, "power": "noise"} for each in audited]
    record.path(AUDIT_FILE).write_text(json.dumps(audited), encoding="utf-8")
    assert "in training and in the reward count a part of the weight of polite 25%" in rft("plan", "tiny").out
    assert "do not rely on it yet" not in rft("audit", "tiny", "--suggest").out
    edit(on_policy / "campaign.yaml", "audit", None)
    assert "a part of the weight" not in rft("plan", "tiny").out


def test_an_audit_prints_the_same_with_and_without_a_block_in_the_campaign(on_policy: Path) -> None:
    lines = "".join(json.dumps(anchor) + "\n" for anchor in ANCHORS)
    (on_policy / "anchors.jsonl").write_text(lines, encoding="utf-8")
    edit(on_policy / "campaign.yaml", "anchors", "anchors.jsonl")
    alone = rft_process("audit", "tiny")
    edit(on_policy / "campaign.yaml", "audit", {})
    of_job = rft_process("audit", "tiny")
    assert of_job.out == alone.out
    why = "campaign.yaml has no `audit` block, so every judge trains with its whole weight\n"
    assert alone.err.endswith(why)
    shown = [line.partition(": ") for line in alone.err.removesuffix(why).splitlines()]
    keys = ["tiny/rubric", "tiny/labels", "tiny/judge_audit"]
    assert [key for key, _, state in shown if state.startswith("made in ")] == keys
    assert {key for key, *_ in shown} - {*keys, "page", "kept", "rules are not audited"} == {
        "judge_audit",
        "0 of 3 stages cached, 3 made",
    }
    assert {line for line in of_job.err.splitlines() if line.endswith(": cached")} == {f"{key}: cached" for key in keys}


NASTY = "\x1b[31m[red]a|b[/] <b>**x**</b>\n| c |"


@pytest.fixture
def nasty(finished_copy: Path) -> None:
    """The finished campaign, where all of base's replies are the same nasty text."""
    record = RecordStore(Home.find().store).current("tiny/round_2/eval_reports")
    assert record is not None
    path = record.path("eval_reports.parquet")
    said = pl.when(pl.col("round") == 0).then(pl.lit(NASTY)).otherwise("completion")
    pl.read_parquet(path).with_columns(said.alias("completion")).write_parquet(path)


@pytest.mark.usefixtures("nasty")
def test_samples_are_held_out_prompts_chosen_by_seed_with_the_replies_of_base_and_the_champion(rft: Rft) -> None:
    def prompts(*options: str) -> list[str]:
        found = json.loads(rft("report", "tiny", "--json", *options).out)["samples"]
        assert all(list(each["replies"]) == ["base", "round 1"] for each in found)
        assert {each["replies"]["base"] for each in found} == {NASTY}
        return [each["prompt"] for each in found]

    everything = prompts("--samples", "9")
    assert (len(everything), len(set(everything))) == (6, 6)
    assert prompts("--samples", "4") == everything[:4]
    assert prompts("--samples", "9", "--seed", "3") != everything
    assert sorted(prompts("--samples", "9", "--seed", "3")) == sorted(everything)


@pytest.mark.usefixtures("nasty")
def test_samples_are_text_in_markdown_and_on_the_terminal(rft: Rft) -> None:
    lines = rft("report", "tiny", "--samples", "2", "--seed", "1", "--markdown").out.splitlines()
    assert lines[:2] == ["| prompt | base | round 1 |", "| --- | --- | --- |"]
    escaped = r"\[red\]a\|b\[/\] \<b\>\*\*x\*\*\</b\> \| c \|"
    assert [line.count(escaped) for line in lines[2:]] == [1, 1]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines[2:]] == [4, 4]
    shown = rft("report", "tiny", "--samples", "2").out
    assert "\x1b" not in "".join(lines) + shown
    assert "[red]a|b[/]" in "".join(shown.split())
    assert rft("report", "tiny", "--markdown").code == 2
