"""Exports of blind pairs of the finished tiny campaign, filled in as people would."""

from collections.abc import Mapping
from pathlib import Path

from rft_pipeline.campaign import load_campaign
from rft_pipeline.labels.importing import Imported
from rft_pipeline.labels.pair_files import write_pairs
from rft_pipeline.labels.pair_importing import import_pairs
from rft_pipeline.labels.pairs import PairExport, draw_pairs, pair_rows
from rft_pipeline.labels.reading import read_filled
from rft_pipeline.store import Home
from tests.labels.sheets import save, table

OTHER = {"left": "right", "right": "left"}


def exported(n: int = 40, of: str | None = None, against: str | None = None) -> PairExport:
    home = Home.find()
    return draw_pairs(load_campaign(home.campaign_folder("tiny")), home, n, of, against)


def written(export: PairExport, folder: Path) -> Path:
    return write_pairs(export, Home.find().store, folder, "csv")


def answered(
    path: Path, export: PairExport, answers: Mapping[int, str] | str, annotator: str = "Anna"
) -> list[list[str]]:
    """Fill in the file: for each row, or for some by number, `tuned`, `start`, or what is written as it is."""
    rows, pairs = table(path), pair_rows(export, Home.find().store)
    sides = dict(pairs.select("pair_id", "tuned").iter_rows())
    for number, row in enumerate(rows[1:]):
        said = answers if isinstance(answers, str) else answers.get(number, "")
        side = sides[row[0].removeprefix("'")]
        row[4] = {"tuned": side, "start": OTHER[side]}.get(said, said)
        row[5] = annotator
    save(path, rows)
    return rows


def taken(path: Path, *, skip_wrong: bool = False) -> Imported:
    home = Home.find()
    return import_pairs(
        load_campaign(home.campaign_folder("tiny")), home.store, read_filled(path), skip_wrong=skip_wrong
    )
