"""Files of labels, filled in as people would, and what is stored of them."""

import csv
import io
from pathlib import Path

import polars as pl

from rft_pipeline.campaign import load_campaign
from rft_pipeline.labels.importing import Imported, import_labels
from rft_pipeline.labels.reading import read_filled
from rft_pipeline.labels.table import labels_of
from rft_pipeline.store import Home


def table(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


def filled(path: Path, annotator: str = "Anna", separator: str = ",", **cells: str) -> list[list[str]]:
    """Every reply is polite except the first; saved as a spreadsheet would."""
    rows = table(path)
    place = {heading.split(" ")[0]: number for number, heading in enumerate(rows[0])}
    for number, row in enumerate(rows[1:]):
        row[place["polite"]] = "yes" if number else "no"
        row[place["annotator"]] = annotator
        for name, cell in cells.items():
            row[place[name]] = cell
    save(path, rows, separator)
    return rows


def save(path: Path, rows: list[list[str]], separator: str = ",") -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=separator).writerows(rows)


def imported(path: Path, *, skip_wrong: bool = False) -> Imported:
    home = Home.find()
    return import_labels(
        load_campaign(home.campaign_folder("tiny")), home.store, read_filled(path), skip_wrong=skip_wrong
    )


def stored() -> pl.DataFrame:
    home = Home.find()
    return labels_of(load_campaign(home.campaign_folder("tiny")), home.store)
