"""Exports: the rollouts drawn for people, with their probabilities, stored so that labels can be imported.

`<store>/<campaign>/label_exports/<id>.json` describes the export, `<id>.parquet` has a row for every rollout that could
have been drawn. Drawn rows contain everything that a judge may see, so their labels remain useful when the rollouts are
removed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import REPLY
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.errors import ConfigError
from rft_pipeline.files import replace_text
from rft_pipeline.fingerprint import fingerprint, seed_of
from rft_pipeline.labels.draw import drawn, with_inclusion
from rft_pipeline.labels.population import population
from rft_pipeline.store import Home, labels_table
from rft_pipeline.store.shared import publish

FOLDER = "label_exports"
FIXED = ("rollout_id", "prompt", "reply", "annotator", "note", "export")
"""Columns of the file for people other than criteria."""


@dataclass(frozen=True)
class LabelQuestion:
    """A criterion as people are asked about it."""

    description: str
    grades: tuple[str, ...] = ()
    """Descriptions of grades 1, 2, …; empty for yes or no."""

    @property
    def scale(self) -> str:
        return f"1 to {len(self.grades)}" if self.grades else "yes, no or 0 to 1"

    @property
    def hint(self) -> str:
        grades = (f"{number} = {text}" for number, text in enumerate(self.grades, start=1))
        return " ".join(f"({self.scale}) {self.description} {'; '.join(grades)}".split())


@dataclass(frozen=True)
class Export:
    """One draw."""

    id: str
    campaign: str
    number: int
    """0 for the first; the next draw is made once labels of this one are imported."""
    criteria: dict[str, LabelQuestion]
    population: int
    drawn: int
    prompts: int
    """Number of different prompts drawn."""
    created: str
    held_out: bool = False
    """Whether the replies are to held-out prompts: only the promotion uses their labels."""
    logged: bool = False
    """Whether the replies are from logs with users' feedback, which people do not see."""

    @property
    def what(self) -> str:
        """What people label, in words."""
        return "replies to held-out prompts" if self.held_out else "logged replies" if self.logged else "rollouts"

    def asks(self, criteria: Mapping[str, LabelQuestion]) -> bool:
        """Whether it asks all these questions in the same words."""
        asked = {name: each.hint for name, each in self.criteria.items()}
        return all(asked.get(name) == each.hint for name, each in criteria.items())


def draw_export(campaign: Campaign, home: Home, n: int) -> Export:
    """Draw n rollouts for people (or all, if there are fewer), or return the same draw if it exists.

    The draw depends on the campaign's seed, the rollouts, n and the draw's number.
    Raises `StoreError` if no round is finished, `ConfigError` for a criterion named like another column.
    """
    asked = label_questions(campaign)
    rows = population(campaign, home)
    number = len(came_back(campaign.name, home.store))
    count = min(n, rows.height)
    rows = with_inclusion(rows, count)
    places = drawn(rows["inclusion"].to_numpy(), seed_of(campaign.seed, "labels", number, n))
    place_N = np.full(rows.height, -1)
    place_N[places] = np.arange(count)
    readable = {name: asdict(each) for name, each in asked.items()}
    id_ = fingerprint([campaign.name, campaign.seed, number, n, readable, rows["rollout_id"].to_list()])
    return kept(home.store, campaign.name, id_, number, asked, rows.with_columns(pl.Series("place", place_N)))


def came_back(campaign: str, store: Path, *, held_out: bool = False, logged: bool = False) -> list[Export]:
    """The exports with imported labels, of one kind."""
    labelled = set(labels_table(store).rows().select(pl.col("batch").unique()).collect()["batch"])
    kind = (held_out, logged)
    found = exports_of(campaign, store)
    return [each for each in found if (each.held_out, each.logged) == kind and each.id in labelled]


def kept(
    store: Path,
    campaign: str,
    id_: str,
    number: int,
    asked: dict[str, LabelQuestion],
    rows: pl.DataFrame,
    *,
    held_out: bool = False,
    logged: bool = False,
) -> Export:
    """Store a draw unless it exists. `rows`: rollout_id, prompt_id, inclusion, what judges see, and place in the draw,
    −1 for those not drawn."""
    for export in exports_of(campaign, store):
        if export.id == id_:
            return export
    is_drawn = pl.col("place") >= 0
    blank = (pl.when(is_drawn).then(pl.col(name)) for name in REPLY)
    rows = rows.select("rollout_id", "prompt_id", "inclusion", "place", *blank)
    of_people = rows.filter(is_drawn)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    prompts = of_people["prompt_id"].n_unique()
    export = Export(id_, campaign, number, asked, rows.height, of_people.height, prompts, created, held_out, logged)
    folder = store / campaign / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{id_}.json"
    rows.write_parquet(path.with_suffix(".parquet"))
    replace_text(path, json.dumps(asdict(export), indent=2, ensure_ascii=False) + "\n")
    publish(path.with_suffix(".parquet"), path)
    return export


def exports_of(campaign: str, store: Path) -> list[Export]:
    """A campaign's exports, oldest first."""
    found = [export_at(path) for path in (store / campaign / FOLDER).glob("*.json")]
    return sorted(found, key=lambda export: (export.created, export.number, export.id))


def export_at(path: Path) -> Export:
    """The export of a JSON file."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    asked = {
        name: LabelQuestion(each["description"], tuple(each["grades"])) for name, each in stored["criteria"].items()
    }
    return Export(**{**stored, "criteria": asked})


def rows_of(export: Export, store: Path) -> pl.DataFrame:
    """All rollouts that could have been drawn: rollout_id, prompt_id, inclusion, place in the draw (−1: not drawn), and
    for drawn ones messages, completion, finish_reason and fields."""
    return pl.read_parquet(store / export.campaign / FOLDER / f"{export.id}.parquet", glob=False)


def drawn_rows(export: Export, store: Path) -> pl.DataFrame:
    """The drawn rollouts, in the order of the draw."""
    return rows_of(export, store).filter(pl.col("place") >= 0).sort("place")


def labelled_replies(campaign: str, store: Path, labels: pl.DataFrame) -> pl.DataFrame:
    """The labelled replies: rollout_id, prompt_id, messages, completion, finish_reason, fields; ordered by
    rollout_id."""
    wanted = set(labels["batch"])
    columns = ("rollout_id", "prompt_id", *REPLY)
    drawn = [drawn_rows(export, store) for export in exports_of(campaign, store) if export.id in wanted]
    if not drawn:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    rows = pl.concat([rows.select(columns) for rows in drawn]).unique("rollout_id", keep="any")
    return rows.join(labels.select("rollout_id"), on="rollout_id", how="semi").sort("rollout_id")


def inclusions(exports: Sequence[Export], store: Path) -> pl.DataFrame:
    """The probability that at least one of these exports drew a rollout: rollout_id, prompt_id, inclusion.

    Draws are independent: 1 − Π (1 − π), where π is 0 for an export made before the rollout.
    """
    if not exports:
        raise ConfigError("no export is given: inclusion probabilities come from exports")
    every = pl.concat([rows_of(export, store).select("rollout_id", "prompt_id", "inclusion") for export in exports])
    return (
        every.group_by("rollout_id", "prompt_id")
        .agg((1 - (1 - pl.col("inclusion")).product()).alias("inclusion"))
        .sort("rollout_id")
    )


def label_questions(campaign: Campaign) -> dict[str, LabelQuestion]:
    """The rubric's criteria as questions to people. Raises `ConfigError` for one named like a column."""
    if taken := set(campaign.rubric.names) & set(FIXED):
        raise ConfigError(
            f"{campaign.name}: the file for people already has a column {', '.join(sorted(taken))}; rename the "
            "criterion in rubric.yaml"
        )
    return {criterion.name: label_question(criterion) for criterion in campaign.rubric.criteria}


def label_question(criterion: Criterion) -> LabelQuestion:
    """A criterion as a question to people."""
    return LabelQuestion(criterion.description or criterion.judge.asks, criterion.judge.levels)
