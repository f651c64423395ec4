"""Imports people's answers to blind pairs from a file or MLflow: checks every row, and writes all answers or none.

An answer is identified by pair and annotator. Importing it again changes nothing; another answer or note by the same
annotator replaces it. An empty cell has no effect and does not remove an answer.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.errors import ConfigError
from rft_pipeline.labels.importing import Imported
from rft_pipeline.labels.pairs import LEFT, RIGHT, TIE, pair_exports_of, pair_rows
from rft_pipeline.labels.queue_answers import answers_in_mlflow
from rft_pipeline.labels.reading import FilledFile, PlacedRow, is_empty, refuse_import, text_of
from rft_pipeline.prompts.rows import shown
from rft_pipeline.store import Home, preferences_table
from rft_pipeline.store.rows import PREFERENCES, preference_id

_ANSWERS = (LEFT, RIGHT, TIE)


def import_pairs(campaign: Campaign, store: Path, file: FilledFile, *, skip_wrong: bool) -> Imported:
    """Read a filled-in export of this campaign's pairs into the preferences table.

    Raises `DataError` with each wrong row and the reason (unless `skip_wrong`), or for wrong columns; then nothing is
    written. Raises `ConfigError` if no pairs were exported.
    """
    known = _known_pairs(campaign, store)
    file.check_columns(("pair_id", "preferred", "annotator", "export"))
    wrong = list(file.wrong)
    rows, empty = _answers(str(file.path), file.rows, known, campaign.name, wrong)
    if not skip_wrong:
        refuse_import(wrong)
    return _written(rows, empty, wrong, store)


def import_pair_queues(campaign: Campaign, home: Home, *, skip_wrong: bool) -> Callable[[], Imported]:
    """Read and check the answers in MLflow to all exports of this campaign's pairs; the function writes them into the
    preferences table.

    Raises as `import_pairs` does, and `TrackingError` if MLflow cannot be read.
    """
    known = _known_pairs(campaign, home.store)
    found = answers_in_mlflow(campaign.name, home, pairs=True)
    wrong: list[str] = []
    rows, _ = _answers("MLflow", found.rows(key="pair_id"), known, campaign.name, wrong)
    if not skip_wrong:
        refuse_import(wrong, "the answers on the page")
    return partial(_written, rows, found.empty, [*found.left_out, *wrong], home.store)


def _known_pairs(campaign: Campaign, store: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The pairs by export and id."""
    exports = pair_exports_of(campaign.name, store)
    if not exports:
        raise ConfigError(
            f"{campaign.name} has no export of pairs to import answers for: "
            f"rft labels export {campaign.name} --pairs 40"
        )
    return {
        (export.id, row["pair_id"]): {**row, "batch": export.id}
        for export in exports
        for row in pair_rows(export, store).select("pair_id", "prompt_id", "left", "right").iter_rows(named=True)
    }


def _answers(
    source: str,
    given: Sequence[PlacedRow],
    known: Mapping[tuple[str, str], dict[str, Any]],
    campaign: str,
    wrong: list[str],
) -> tuple[pl.DataFrame, int]:
    """A row per answer, and the number of rows without one; appends errors to `wrong`."""
    found: list[dict[str, Any]] = []
    first: dict[str, str] = {}
    empty, now = 0, datetime.now(UTC).isoformat(timespec="seconds")
    for place, cells in given:
        if is_empty(cells.get("preferred")):
            empty += 1
            continue
        try:
            answer = _answer(cells, known, campaign)
            earlier = first.setdefault(answer["preference_id"], place)
            if earlier != place:
                raise ValueError(f"{answer['annotator']} already answered pair {answer['pair_id']} in {earlier}")
        except ValueError as error:
            wrong.append(f"{source}: {place}: {error}")
            continue
        found.append({**answer, "created": now})
    return pl.DataFrame(found, schema=PREFERENCES), empty


def _written(rows: pl.DataFrame, empty: int, wrong: Sequence[str], store: Path) -> Imported:
    """Write new and changed answers."""
    new, changed = _to_write(rows, store)
    if new.height + changed.height:
        preferences_table(store).upsert(pl.concat([new, changed]))
    unchanged = rows.height - new.height - changed.height
    annotators = tuple(sorted(set(rows["annotator"])))
    return Imported(new.height, changed.height, unchanged, empty, 0, annotators, tuple(wrong))


def _answer(cells: Mapping[str, Any], known: Mapping[tuple[str, str], dict[str, Any]], campaign: str) -> dict[str, Any]:
    """The answer of one row. Raises `ValueError` with all problems of the row."""
    names = ("export", "pair_id", "annotator", "note", "preferred")
    export, pair, annotator, note, preferred = (text_of(cells.get(name)) for name in names)
    problems = []
    if (export, pair) not in known:
        problems.append(f"no export {shown(export)} of {campaign} has pair_id {shown(pair)}")
    if not annotator:
        problems.append("no annotator: write who answered")
    if preferred.casefold() not in _ANSWERS:
        problems.append(f"preferred: {shown(preferred)} is not an answer: write left, right or tie")
    if problems:
        raise ValueError("; ".join(problems))
    return {
        **known[export, pair],
        "preference_id": preference_id(campaign, pair, annotator),
        "preferred": preferred.casefold(),
        "annotator": annotator,
        "note": note,
    }


def _to_write(rows: pl.DataFrame, store: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that are new, and the rows that replace a stored or duplicate answer.

    Another export may show the same pair the other way round, so the preferred rollouts are compared, not the sides.
    """
    table = preferences_table(store)
    new = table.missing(rows)
    stored = table.read(rows).with_columns(_preferred_rollout()).select("preference_id", "note", "chosen")
    both = rows.with_columns(_preferred_rollout()).join(stored, on="preference_id", how="inner", suffix="_stored")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_stored")) for name in ("note", "chosen"))
    twice = pl.col("preference_id").is_in(table.doubled()["preference_id"].implode())
    return new, both.filter(differs | twice).select(PREFERENCES.names())


def _preferred_rollout() -> pl.Expr:
    sides = pl.when(pl.col("preferred") == LEFT).then("left").when(pl.col("preferred") == RIGHT).then("right")
    return sides.alias("chosen")
