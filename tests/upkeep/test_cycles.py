"""Cycles of retraining in the store's upkeep."""

from pathlib import Path

from rft_pipeline.campaign.cycles import load_current
from rft_pipeline.store import Home, RecordStore
from rft_pipeline.upkeep.gc import free, garbage
from tests.prompts.test_cycle import begun, log, set_up
from tests.upkeep.small import make_champion, older, said, stored


def test_a_cycle_is_sound_and_altered_prompts_are_found(finished_copy: Path) -> None:
    set_up(finished_copy)
    log(finished_copy, "monday")
    begun(finished_copy)
    assert said() == []
    folder = Home.find().root / "cycles" / "tiny" / "1"
    with (folder / "prompts.jsonl").open("a", encoding="utf-8") as prompts:
        prompts.write("\n")
    (folder / "seen.txt").unlink()
    assert said("tiny") == [
        ("error", "cycles/tiny/1/prompts.jsonl", "was altered"),
        ("error", "cycles/tiny/1/seen.txt", "is missing"),
    ]


def test_the_champion_that_the_cycle_in_force_starts_from_stays_whoever_came_since(finished_copy: Path) -> None:
    home = Home.find()
    set_up(finished_copy)
    log(finished_copy, "monday")
    pinned, other = (older("round_1/checkpoints", seed) for seed in (98, 99))
    make_champion(pinned)
    begun(finished_copy)
    make_champion(stored("round_1/checkpoints"), stored("round_2/checkpoints"))
    with garbage(home, [load_current(home, "tiny")], None, free=True) as found:
        free(found)
    records = RecordStore(home.store)
    assert records.at(pinned.address) is not None
    assert records.at(other.address) is None
