"""Merged champions in gc."""

from pathlib import Path

from rft_pipeline.store import champions
from rft_pipeline.store.champions import Champion, History
from rft_pipeline.upkeep.gc import unneeded_models


def test_a_merged_champion_goes_once_nobody_can_go_back_to_it(tmp_path: Path) -> None:
    known: History = ()
    for content in ("first", "second", "rejected"):
        known = champions.promote(known, Champion(f"tiny/{content}", content, 1, "report", "", "better"))
    known = champions.rollback(known, "too long")
    with champions.locked(tmp_path, "tiny"):
        champions.write(tmp_path, "tiny", known)
    models = tmp_path / "models"
    for content in ("first", "second", "rejected", "nobody"):
        (models / f"champion--{content}").mkdir(parents=True)
    (models / "Qwen--Qwen3").mkdir()
    found = unneeded_models(models, [champions.path_of(tmp_path, "tiny")], [])
    assert [path.name for path in found] == ["champion--nobody", "champion--rejected"]
