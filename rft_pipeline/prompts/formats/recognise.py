"""Recognises the format of a file's rows."""

from collections.abc import Collection, Mapping, Sequence

from rft_pipeline.campaign import RowFormat
from rft_pipeline.errors import DataError
from rft_pipeline.prompts.formats.layouts import LAYOUTS
from rft_pipeline.prompts.rows import Row

FIRST = 20
"""Rows that are looked at."""
NEW = "`--format` of rft new"


def recognise(
    rows: Sequence[Row],
    where: str,
    named: RowFormat | None = None,
    columns: Mapping[str, str] | None = None,
    among: Collection[RowFormat] = LAYOUTS,
) -> RowFormat | None:
    """The format of these rows: the one that is `named`; or the one that mapped `columns` imply; or the one `among`
    these that all of the first rows look like, leaving out rows that look like none. None if no row looks like any.

    Raises `DataError` if that is more than one, or if no row looks like the one that is named; `where` is the file.
    """
    columns = columns or {}
    first = rows[:FIRST]
    fits = {name: [row for row in first if LAYOUTS[name].matches(row.values)] for name in among}
    numbers = {row.number for found in fits.values() for row in found}
    possible = [name for name, found in fits.items() if found and len(found) == len(numbers)]
    less = {LAYOUTS[name].more_than for name in possible}
    possible = [name for name in possible if name not in less]
    if named is not None:
        if first and not columns and not any(LAYOUTS[named].matches(row.values) for row in first):
            raise DataError(f"{where}: {_wrongly_named(named, first[0], possible)}")
        return named
    if "messages" in columns:
        return "messages"
    if "prompt" in columns and "." not in columns["prompt"]:
        return "prompts"
    if len(possible) == 1:
        return possible[0]
    if not numbers:
        return None
    raise DataError(f"{where}: {_ambiguous(possible, {name: found[0] for name, found in fits.items() if found})}")


def _wrongly_named(named: RowFormat, first: Row, possible: Sequence[RowFormat]) -> str:
    looks = "".join(f". This looks like {LAYOUTS[name].title}: write `format: {name}` ({NEW})" for name in possible[:1])
    return (
        f"`format: {named}` needs {LAYOUTS[named].needs}; {first.place} has: {', '.join(first.values) or 'nothing'}"
        f"{looks}"
    )


def _ambiguous(possible: Sequence[RowFormat], first: Mapping[RowFormat, Row]) -> str:
    """`first` is the first row that looks like each format."""
    if possible:
        looks = " and like ".join(LAYOUTS[name].title for name in possible)
        return f"this looks like {looks}: add {' or '.join(f'`format: {name}`' for name in possible)} ({NEW})"
    looks = ", ".join(f"{row.place} like {LAYOUTS[name].title}" for name, row in first.items())
    return f"rows look different: {looks}; add `format: {next(iter(first))}` ({NEW}), or split the file"
