"""`rft status`: where the campaigns of a home stand."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from rft_pipeline.promotion.in_brief import in_brief
from rft_pipeline.runs.dead_runs import process_tags
from rft_pipeline.store import Home
from tests.assets.small import instance, materialize
from tests.cli.small import Rft
from tests.runs import edit


def status(rft: Rft, name: str = "tiny") -> dict[str, Any]:
    found = json.loads(rft("status", "--json").out)["campaigns"]
    return next(each for each in found if each["campaign"] == name)


def a_run(state: dg.DagsterRunStatus, tags: dict[str, str]) -> str:
    from assets.definitions import definitions

    with instance() as running:
        job = definitions(Home.find()).resolve_job_def("tiny")
        return running.create_run_for_job(job, tags={"rft/campaign": "tiny", **tags}, status=state).run_id


def test_a_finished_campaign_shows_its_champion_decision_and_pages(rft: Rft, finished_home: Path) -> None:
    found = status(rft)
    assert (found["champion"]["round"], found["champion"]["forced"], found["stale"]) == (1, False, [])
    assert found["champion"]["lower95"] <= found["champion"]["reward"] <= found["champion"]["upper95"]
    assert found["decided"] == {"promoted": 1, "why": "passed every bound"}
    assert (found["errors"], found["next"], found["labels_wanted"]) == ([], [], [])
    said = rft("status", "tiny")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[:2] == [f"campaigns in {finished_home.parent}, results in {Home.find().root}", "tiny"]
    assert re.fullmatch(r"  champion  round 1, reward 0\.\d{3} \(.*\), since \d{4}-\d\d-\d\d \d\d:\d\d", lines[2])
    assert "  stale     nothing" in lines
    assert found["alarms"] is None, "not watched"


def test_alarms_that_warn_have_a_line(rft: Rft, finished_copy: Path) -> None:
    shown = Home.find().reports / "tiny.json"
    kl = {"cause": "kl", "level": "warn", "sentence": "far"}
    numbers = json.loads(shown.read_text(encoding="utf-8"))
    numbers["alarms"] = {"verdicts": [{"round": 2, "level": "warn", "findings": [kl]}]}
    shown.write_text(json.dumps(numbers), encoding="utf-8")
    assert status(rft)["alarms"] == {"round": 2, "level": "warn", "causes": ["KL to the baseline"]}
    assert "  alarms    warn in round 2: KL to the baseline" in rft("status").out.splitlines()


def test_what_is_stale_has_the_reason_of_the_plan(rft: Rft, finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 5)
    found = status(rft)
    stages = json.loads(rft("plan", "tiny", "--json").out)["stages"]
    stale = [{"key": each["key"], "reasons": each["reasons"]} for each in stages if each["action"] == "run"]
    assert found["stale"] == stale
    assert re.search(r"stale     6 of 10 stages; \S+: .*\"says_enough\": rule.min_words 6 → 5", rft("status").out)


def test_a_campaign_that_never_ran_takes_one_line_and_a_bad_one_stops_no_other(
    rft: Rft, finished_copy: Path, tiny_model: Path
) -> None:
    from tests.tiny_campaign import write_campaign

    write_campaign(finished_copy.parents[1] / "more", tiny_model).rename(finished_copy.with_name("fresh"))
    edit(finished_copy.with_name("fresh") / "campaign.yaml", "name", "fresh")
    bad = finished_copy.with_name("bad")
    bad.mkdir()
    (bad / "campaign.yaml").write_bytes(b"name: \xff")
    said = rft("status")
    assert said.code == 2
    assert "fresh  never run: `rft run fresh`" in said.out
    assert f"error     {bad / 'campaign.yaml'}: not YAML" in said.out
    assert "champion  round 1" in said.out
    assert rft("status", "tiny").code == 0
    assert rft("status", "nobody").code == 2


def test_schedules_labels_and_an_audit_without_enough_anchors_are_shown(
    rft: Rft, finished_copy: Path, tmp_path: Path
) -> None:
    edit(finished_copy / "campaign.yaml", "schedule", {"cron": "0 3 * * 1", "time_zone": "Europe/Berlin"})
    assert rft("labels", "export", "tiny", "--n", "6", "--out", str(tmp_path)).code == 0
    found = status(rft)
    (tick,) = found["next"]
    assert (tick["what"], tick["stopped"]) == ("run", False)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT03:00\+0[12]:00", tick["at"])
    (wanted,) = found["labels_wanted"]
    assert re.fullmatch(r"6 rollouts were exported on \d{4}-\d\d-\d\d and have no labels yet", wanted)


def test_the_last_run_says_whether_it_goes_on_failed_or_was_killed(rft: Rft, finished_copy: Path) -> None:
    (finished_copy / "prompts" / "eval.jsonl").write_text("{}\n", encoding="utf-8")
    assert not materialize(finished_copy, ["tiny/prompts"]).success
    with instance() as running:
        failed = running.get_runs()[0]
        running.add_run_tags(failed.run_id, {"rft/campaign": "tiny"})
    last = status(rft)["last_run"]
    assert (last["verdict"], last["run_id"]) == ("failed", failed.run_id)
    assert last["why"].startswith("tiny/prompts: ")
    assert "eval.jsonl" in last["why"]
    goes_on = a_run(dg.DagsterRunStatus.STARTED, process_tags())
    last = status(rft)["last_run"]
    assert (last["verdict"], last["run_id"], last["ended"]) == ("running", goes_on, None)
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    killed = a_run(dg.DagsterRunStatus.STARTED, process_tags(int(process.stdout)))
    assert (status(rft)["last_run"]["verdict"], status(rft)["last_run"]["run_id"]) == ("killed", killed)


def test_no_model_library_is_imported(finished_home: Path) -> None:
    code = (
        "import sys; from rft_pipeline.cli.app import app; app(['status'], standalone_mode=False);"
        "sys.exit([name for name in ('torch', 'transformers', 'trl', 'mlflow') if name in sys.modules] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("failed", "why"),
    [
        (["reward"], "reward not surely better"),
        (["reward", "alarms"], "the alarms stopped it, reward not surely better"),
        (["reward", "people's preference"], "people prefer the champion, reward not surely better"),
        (["gate polite", "alarms' judge"], "score of the alarms' judge may be worse, gate polite may be worse"),
    ],
)
def test_a_refusal_in_brief_names_the_failed_bounds_of_the_nearest_round(failed: list[str], why: str) -> None:
    def compared(number: int, names: list[str]) -> dict[str, Any]:
        return {"round": number, "bounds": [{"name": name, "passed": False} for name in names]}

    worse = compared(1, ["reward", "held-out prompts", "alarms' judge", "gate other"])
    assert in_brief({"rounds": [worse, compared(2, failed)]}) == why
