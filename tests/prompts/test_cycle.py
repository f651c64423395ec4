"""Cycles on the tiny campaign: what is written, what a cycle starts from, and what it leaves alone."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.campaign.cycles import finish, load_current, newest
from rft_pipeline.errors import ConfigError, StoreError
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.pipeline.retraining import NextCycle, begin, next_cycle
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.store import Home, RecordStore
from rft_pipeline.store.champions import locked, path_of, rollback, write
from tests.promoted import write_champion
from tests.prompts.small import write_logs
from tests.runs import edit

RETRAIN: dict[str, Any] = {"cron": "0 3 * * 1", "logs": "logs/*.jsonl", "prompts": 8, "old_share": 0.25}


def set_up(folder: Path, **settings: Any) -> None:
    edit(folder / "campaign.yaml", "schedule", {"retrain": {**RETRAIN, **settings}})


def log(folder: Path, day: str, count: int = 12, **fields: str) -> None:
    rows = [{"id": f"{day}-{i}", "prompt": f"On {day} my order number {i} was bad.", **fields} for i in range(count)]
    write_logs(folder / "logs" / f"{day}.jsonl", rows)


def begun(folder: Path) -> NextCycle:
    return begin(load_campaign(folder), Home.find())


def ended() -> None:
    """The newest cycle, as its promotion leaves it."""
    cycle = newest(Home.find(), "tiny")
    assert cycle is not None
    finish(cycle, {"promoted": "none"})


def in_force_number() -> int | None:
    cycle = newest(Home.find(), "tiny")
    return None if cycle is None else cycle.number


def to_run(folder: Path) -> list[str]:
    home = Home.find()
    return [step.key for step in plan(load_current(home, folder.name), home).steps if step.action == "run"]


def test_before_the_first_cycle_the_campaign_runs_as_written(finished_copy: Path) -> None:
    set_up(finished_copy)
    assert to_run(finished_copy) == []
    assert load_current(Home.find(), "tiny") == load_campaign(finished_copy)


def test_a_cycle_writes_its_sources_and_runs_every_round(finished_copy: Path) -> None:
    set_up(finished_copy)
    log(finished_copy, "monday")
    path_of(Home.find().root, "tiny").unlink(missing_ok=True)
    assert begun(finished_copy).refusal is None
    cycle = newest(Home.find(), "tiny")
    assert cycle is not None
    told = json.loads((cycle.folder / "cycle.json").read_text(encoding="utf-8"))
    counts = {name: told[name] for name in ("number", "prompts", "new", "old", "logged", "opted_out", "like_held_out")}
    assert counts == {
        "number": 1, "prompts": 8, "new": 8, "old": 0, "logged": 12, "opted_out": 0, "like_held_out": 0,
    }  # fmt: skip
    assert told["policy"] is None
    assert len((cycle.folder / "prompts.jsonl").read_text(encoding="utf-8").splitlines()) == 8
    assert len((cycle.folder / "seen.txt").read_text(encoding="utf-8").splitlines()) == 12
    ran = to_run(finished_copy)
    assert "tiny/policy" not in ran
    assert "tiny/prompts" in ran
    assert len(ran) == 12


def test_a_cycle_without_new_prompts_does_not_begin(finished_copy: Path) -> None:
    set_up(finished_copy)
    nothing = begun(finished_copy)
    assert nothing.refusal == f"nothing new: no file matches {finished_copy / 'logs/*.jsonl'}"
    log(finished_copy, "monday")
    begun(finished_copy)
    again = begun(finished_copy)
    assert again.refusal == f"nothing new in {finished_copy / 'logs/*.jsonl'} since cycle 1"
    cycle = newest(Home.find(), "tiny")
    assert cycle is not None
    assert cycle.number == 1


def test_the_next_cycle_takes_new_rows_and_a_share_of_old_ones(finished_copy: Path) -> None:
    set_up(finished_copy)
    log(finished_copy, "monday")
    begun(finished_copy)
    ended()
    log(finished_copy, "tuesday")
    second = begun(finished_copy)
    assert (second.number, second.drawn.new, second.drawn.old) == (2, 6, 2)
    days = [row["id"].partition("-")[0] for row in second.drawn.rows]
    assert (days.count("tuesday"), days.count("monday")) == (6, 2)


def test_what_was_new_to_an_interrupted_cycle_is_new_to_the_next(tiny_campaign: Path) -> None:
    set_up(tiny_campaign)
    log(tiny_campaign, "monday")
    begun(tiny_campaign)
    assert begun(tiny_campaign).refusal == f"nothing new in {tiny_campaign / 'logs/*.jsonl'} since cycle 1"
    log(tiny_campaign, "tuesday", count=1)
    second = begun(tiny_campaign)
    assert (second.number, second.drawn.new, second.drawn.old, len(second.drawn.unseen)) == (2, 8, 0, 13)


def test_rows_that_opt_out_after_a_cycle_are_in_no_later_one(tiny_campaign: Path) -> None:
    set_up(tiny_campaign, opt_out="no_training", old_share=0.5)
    rows = [{"id": f"monday-{i}", "prompt": f"On monday my order number {i} was bad."} for i in range(4)]
    write_logs(tiny_campaign / "logs" / "monday.jsonl", [{**row, "no_training": False} for row in rows])
    assert begun(tiny_campaign).drawn.new == 4
    ended()
    refused = [{"id": row["id"], "prompt": "Do not use my words.", "no_training": True} for row in rows[:3]]
    write_logs(tiny_campaign / "logs" / "refused.jsonl", refused)
    log(tiny_campaign, "tuesday")
    second = begun(tiny_campaign)
    assert (second.drawn.old, second.drawn.opted_out) == (1, 6)
    assert [row["id"] for row in second.drawn.rows if row["id"].startswith("monday")] == ["monday-3"]


def test_an_interrupted_cycle_with_rows_that_opted_out_since_is_replaced(tiny_campaign: Path) -> None:
    set_up(tiny_campaign, opt_out="no_training")
    rows = [{"id": f"chat-{i}", "prompt": f"My order number {i} was bad.", "no_training": False} for i in range(8)]
    write_logs(tiny_campaign / "logs" / "a.jsonl", rows)
    assert begun(tiny_campaign).drawn.new == 8
    write_logs(tiny_campaign / "logs" / "a.jsonl", [{**row, "no_training": i < 4} for i, row in enumerate(rows)])
    second = begun(tiny_campaign)
    assert (second.number, second.refusal, second.withdrawn, second.drawn.new) == (2, None, 4, 4)
    assert second.summary.endswith("4 prompts of cycle 1, interrupted, opted out since")
    assert {row["id"] for row in second.drawn.rows} == {f"chat-{i}" for i in range(4, 8)}
    assert in_force_number() == 2


def test_an_interrupted_cycle_is_withdrawn_even_if_too_few_prompts_are_left(tiny_campaign: Path) -> None:
    set_up(tiny_campaign, opt_out="no_training")
    rows = [{"id": f"chat-{i}", "prompt": f"My order number {i} was bad.", "no_training": False} for i in range(3)]
    write_logs(tiny_campaign / "logs" / "a.jsonl", rows)
    begun(tiny_campaign)
    later = [{"id": row["id"], "prompt": "Do not use my words.", "no_training": True} for row in rows[:2]]
    write_logs(tiny_campaign / "logs" / "a.jsonl", [rows[2], *later])
    nothing = begun(tiny_campaign)
    assert str(nothing.refusal).startswith("2 prompts of cycle 1, interrupted, opted out since; only 1 prompt")
    assert in_force_number() is None
    log(tiny_campaign, "tuesday", count=2)
    assert (begun(tiny_campaign).drawn.new, in_force_number()) == (3, 2)


def test_a_finished_cycle_stays_when_rows_opt_out(tiny_campaign: Path) -> None:
    set_up(tiny_campaign, opt_out="no_training")
    rows = [{"id": f"chat-{i}", "prompt": f"My order number {i} was bad.", "no_training": False} for i in range(8)]
    write_logs(tiny_campaign / "logs" / "monday.jsonl", rows)
    begun(tiny_campaign)
    ended()
    write_logs(tiny_campaign / "logs" / "monday.jsonl", [{**row, "no_training": True} for row in rows])
    assert (begun(tiny_campaign).withdrawn, in_force_number()) == (0, 1)


def test_two_processes_that_begin_at_once_draw_one_cycle(tiny_campaign: Path) -> None:
    set_up(tiny_campaign)
    log(tiny_campaign, "monday")
    with ThreadPoolExecutor(2) as both:
        refusals = [found.refusal for found in both.map(begun, [tiny_campaign, tiny_campaign])]
    assert sorted(refusals, key=str) == [None, f"nothing new in {tiny_campaign / 'logs/*.jsonl'} since cycle 1"]
    assert [path.name for path in (Home.find().root / "cycles" / "tiny").glob("[!.]*")] == ["1"]


def test_after_a_rollback_a_cycle_starts_from_the_previous_champion(finished_copy: Path) -> None:
    set_up(finished_copy)
    log(finished_copy, "monday")
    first = write_champion("tiny/round_1/checkpoints")
    write_champion("tiny/round_2/checkpoints")
    home = Home.find()
    with locked(home.root, "tiny") as known:
        write(home.root, "tiny", rollback(known, "too long"))
    begun(finished_copy)
    running = load_current(home, "tiny")
    assert running.policy.model == f"champion:tiny@{first}"
    checkpoint = RecordStore(home.store).at(first)
    assert checkpoint is not None
    assert source_hashes(running, home, fetch=False)["policy"] == checkpoint.content_hash


def test_too_few_new_prompts_begin_no_cycle(finished_copy: Path) -> None:
    set_up(finished_copy)
    log(finished_copy, "monday", count=1)
    assert begun(finished_copy).refusal == (
        "only 1 prompt (1 of them new): one optimiser step needs 2 (training.batch_size 8, rollouts.group_size 4)"
    )
    log(finished_copy, "monday", count=3)
    assert begun(finished_copy).drawn.new == 3


def test_a_cycle_starts_from_the_champion_and_a_promotion_makes_nothing_of_it_stale(finished_copy: Path) -> None:
    set_up(finished_copy)
    log(finished_copy, "monday")
    first = write_champion("tiny/round_2/checkpoints")
    begun(finished_copy)
    home = Home.find()
    running = load_current(home, "tiny")
    assert running.policy.model == f"champion:tiny@{first}"
    checkpoint = RecordStore(home.store).at(first)
    assert checkpoint is not None
    assert source_hashes(running, home, fetch=False)["policy"] == checkpoint.content_hash
    before = to_run(finished_copy)
    assert "tiny/policy" in before
    assert write_champion("tiny/round_1/checkpoints") != first
    assert to_run(finished_copy) == before
    log(finished_copy, "tuesday")
    begun(finished_copy)
    cycle = newest(home, "tiny")
    assert cycle is not None
    assert cycle.policy is not None
    assert cycle.policy.address.startswith("tiny/round_1/checkpoints/")


def test_a_cycle_is_found_if_the_campaigns_are_behind_a_link(
    finished_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "far" / "away"
    elsewhere.mkdir(parents=True)
    (elsewhere / "campaigns").symlink_to(finished_copy.parent)
    monkeypatch.setenv("RFT_DATA", str(elsewhere / "campaigns"))
    linked = Home.find().campaign_folder("tiny")
    assert linked != finished_copy
    set_up(linked)
    log(linked, "monday")
    begun(linked)
    running = load_current(Home.find(), "tiny")
    assert (linked / running.prompts.train.source).is_file()
    assert "tiny/prompts" in to_run(linked)


def test_drawing_the_next_cycle_without_beginning_it_writes_nothing(finished_copy: Path) -> None:
    set_up(finished_copy)
    log(finished_copy, "monday")
    assert next_cycle(load_campaign(finished_copy), Home.find()).refusal is None
    assert newest(Home.find(), "tiny") is None


def test_invalid_settings_are_refused(tiny_campaign: Path) -> None:
    with pytest.raises(ConfigError, match=r"schedule.retrain: is missing; retraining needs"):
        begun(tiny_campaign)
    set_up(tiny_campaign, redact=["name"])
    with pytest.raises(ConfigError, match=r"schedule.retrain.redact.0: must be 'email', 'card' or 'phone'"):
        load_campaign(tiny_campaign)
    set_up(tiny_campaign, redact_with="nowhere:f")
    with pytest.raises(ConfigError, match=r"schedule.retrain.redact_with: no module 'nowhere'"):
        load_campaign(tiny_campaign)
    edit(tiny_campaign / "campaign.yaml", "schedule", {"time_zone": "UTC"})
    with pytest.raises(ConfigError, match=r"schedule: needs `cron`, `retrain` or both"):
        load_campaign(tiny_campaign)


@pytest.mark.parametrize("name", ["cycle.json", "seen.txt", "sources.txt"])
def test_a_file_that_is_missing_in_a_cycle_is_named(tiny_campaign: Path, name: str) -> None:
    set_up(tiny_campaign)
    log(tiny_campaign, "monday")
    begun(tiny_campaign)
    (Home.find().root / "cycles" / "tiny" / "1" / name).unlink()
    with pytest.raises(StoreError, match=rf"tiny/1/{name}: cannot be read: .*; .* remove the cycle's folder"):
        begun(tiny_campaign)


@pytest.mark.parametrize(
    ("logs", "message"), [("logs/**.jsonl", r"\*\* must be a whole part"), ("logs/**", "matches folders only")]
)
def test_a_glob_that_can_match_nothing_is_refused(tiny_campaign: Path, logs: str, message: str) -> None:
    set_up(tiny_campaign, logs=logs)
    with pytest.raises(ConfigError, match=rf"schedule.retrain.logs: .*{message}"):
        load_campaign(tiny_campaign)


def test_a_champion_whose_checkpoint_is_gone_is_named(finished_copy: Path) -> None:
    set_up(finished_copy)
    log(finished_copy, "monday")
    address = write_champion("tiny/round_1/checkpoints")
    shutil.rmtree(Home.find().store / address)
    with pytest.raises(StoreError, match=rf"tiny.json: names {address}, whose record is missing") as refused:
        begun(finished_copy)
    assert "`rft rollback tiny` restores the previous champion" in str(refused.value)
