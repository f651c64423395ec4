"""Reads users' feedback from interaction logs: thumbs or ratings of the replies that they saw.

Thumbs may be words, true and false, or numbers from 0 to 1 (−1 is a thumb down). Ratings need their scale. Langfuse
writes scores as a list of objects with `name` and `value`, LangSmith writes `feedback_stats` with a mean (`avg`) by
key; a place such as `scores.thumbs` or `feedback_stats.thumbs` finds either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rft_pipeline.campaign import Feedback
from rft_pipeline.errors import ConfigError
from rft_pipeline.prompts.formats import LOGGED_REPLY
from rft_pipeline.prompts.formats.turns import decoded
from rft_pipeline.prompts.logs import Logged, log_files, read_logs
from rft_pipeline.prompts.rows import refuse
from rft_pipeline.rules.base import REFERENCE

UP = frozenset(
    ["up", "thumbs_up", "thumbsup", "like", "liked", "positive", "good", "helpful", "yes", "true", "+1", "👍"]
)
DOWN = frozenset(
    [
        "down",
        "thumbs_down",
        "thumbsdown",
        "dislike",
        "disliked",
        "negative",
        "bad",
        "unhelpful",
        "not_helpful",
        "no",
        "false",
        "👎",
    ]
)
NEUTRAL = 0.5
"""Feedback that is neither liked nor disliked."""
_VALUES = ("value", "score", "avg")
"""Keys of the value in an object of feedback."""
_MILLISECONDS_FROM = 1e11
"""Times above this are in milliseconds since 1970, others in seconds."""


@dataclass(frozen=True)
class RatedReply:
    """A logged reply with its feedback."""

    messages: list[dict[str, str]]
    completion: str
    fields: dict[str, Any]
    value: float
    """In [0, 1]."""
    week: str | None
    """ISO week, `2026-W48`; None without a time."""


@dataclass(frozen=True)
class LoggedFeedback:
    """The feedback in log files."""

    found: list[RatedReply]
    rows: int
    """Rows in the logs."""
    opted_out: int
    without_reply: int
    """Rows with feedback and no reply or no usable prompt; they are left out."""
    wrong: list[str]
    """Place and reason for each row whose feedback or time cannot be read; with `skip_wrong`, they are left out."""


def read_feedback(settings: Feedback, folder: Path, *, skip_wrong: bool = False) -> LoggedFeedback:
    """All replies with feedback in a campaign's logs, in order; rows that opted out are left out.

    Raises `ConfigError` without log files, or if no row has the mapped column; `DataError` as `read_logs` does, and
    with a line (file, row, key) for each feedback or time that cannot be read (unless `skip_wrong`).
    """
    files = log_files(folder, settings.logs, "feedback")
    if not files:
        raise ConfigError(
            f"{folder / settings.logs}: there are no log files; `feedback.logs` in campaign.yaml names them"
        )
    columns = {name: settings.columns[name] for name in ("prompt",) if name in settings.columns}
    if "reply" in settings.columns:
        columns[REFERENCE] = settings.columns["reply"]
    logs = read_logs(files, settings.opt_out, settings.format, columns, "feedback")
    rows = [each for each in logs.rows if not each.opted_out and each.row is not None]
    wrong: list[str] = []
    told = [(each, *_told(each, settings, wrong)) for each in rows]
    refuse([*([] if skip_wrong else wrong), *_ambiguous(told, settings)])
    given = [(each, value, week) for each, value, week in told if value is not None]
    if rows and not given:
        raise ConfigError(
            f"{folder / settings.logs}: no row has feedback in {settings.columns['feedback']!r}; `feedback.columns` in "
            "campaign.yaml maps `feedback` to the column, or to a place inside it, e.g. scores.thumbs"
        )
    found = [
        RatedReply(each.messages, reply, _fields(each, settings), value, week)
        for each, value, week in given
        if isinstance(reply := each.fields.get(LOGGED_REPLY), str) and reply.strip()
    ]
    return LoggedFeedback(
        found, len(logs.rows) + len(logs.unusable), len(logs.rows) - len(rows), len(given) - len(found), wrong
    )


def value_of(value: Any, scale: tuple[float, float] | None = None) -> float | None:
    """Feedback in [0, 1]; None if there is none. Raises `ValueError` with what is allowed."""
    number = _number(value)
    if value is None or value == "":
        return None
    if scale is not None:
        if number is None or not scale[0] <= number <= scale[1]:
            raise ValueError(f"must be a number from {scale[0]:g} to {scale[1]:g} (feedback.scale), is {_kind(value)}")
        return (number - scale[0]) / (scale[1] - scale[0])
    if isinstance(value, bool):
        return float(value)
    if number is not None and (number == -1 or 0 <= number <= 1):
        return max(number, 0.0)
    word = "_".join(value.casefold().replace("-", " ").split()) if isinstance(value, str) else ""
    if word in UP or word in DOWN:
        return float(word in UP)
    rating = " For ratings, set feedback.scale to the lowest and the highest, e.g. [1, 5]" if number is not None else ""
    raise ValueError(f"must be up or down, true or false, or a number from 0 to 1, is {_kind(value)}.{rating}")


def week_of(value: Any) -> str | None:
    """The ISO week of a time in UTC: a text of ISO 8601, or a number of seconds or milliseconds since 1970. None for
    null. Raises `ValueError`."""
    if value is None or value == "":
        return None
    number = _number(value)
    try:
        if number is not None:
            when = datetime.fromtimestamp(number / (1000 if number > _MILLISECONDS_FROM else 1), UTC)
        else:
            when = datetime.fromisoformat(str(value))
            when = when.astimezone(UTC) if when.tzinfo else when
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"must be a time such as 2026-11-28T09:30:00Z, is {_kind(value)}") from None
    year, week, _ = when.isocalendar()
    return f"{year}-W{week:02d}"


def at(values: Mapping[str, Any], place: str) -> Any:
    """The value of a column or of a place inside it; of a list, the last entry (of that name)."""
    found: Any = values.get(place) if place in values else values
    for key in () if place in values else place.split("."):
        found = decoded(found)
        if isinstance(found, list):
            named = [each for each in found if isinstance(each, dict) and each.get("name", each.get("key")) == key]
            found = named[-1] if named else None
        else:
            found = found.get(key) if isinstance(found, dict) else None
    found = decoded(found)
    found = found[-1] if isinstance(found, list) and found else found
    if isinstance(found, dict):
        found = next((found[key] for key in _VALUES if found.get(key) is not None), None)
    return None if found == [] else found


def _told(each: Logged, settings: Feedback, findings: list[str]) -> tuple[float | None, str | None]:
    """The feedback and the week of a row; appends what cannot be read."""
    assert each.row is not None
    values, columns = each.row.values, settings.columns
    try:
        key = columns["feedback"]
        value = value_of(at(values, key), settings.scale)
        key = columns.get("time", "")
        return value, week_of(at(values, key)) if key and value is not None else None
    except ValueError as error:
        findings.append(f"{each.place}: {key}: {error}")
        return None, None


def _ambiguous(told: Sequence[tuple[Logged, float | None, str | None]], settings: Feedback) -> list[str]:
    """Without a scale, −1 and 0 together leave open whether 0 is a thumb down."""
    if settings.scale is not None:
        return []
    key = settings.columns["feedback"]
    first: dict[float, Logged] = {}
    for each, _, _ in told:
        number = _number(at(each.row.values, key)) if each.row is not None else None
        if number in (-1, 0):
            first.setdefault(number, each)
    if len(first) < 2:
        return []
    return [f"{first[0].place}: {key}: is 0, and {first[-1].place} is -1; set feedback.scale, e.g. [-1, 1]"]


def _fields(each: Logged, settings: Feedback) -> dict[str, Any]:
    """The other columns, without the feedback, which no judge may see."""
    hidden = {LOGGED_REPLY}
    for name in ("feedback", "time"):
        first, *_ = parts = settings.columns.get(name, "").split(".")
        hidden |= {first, parts[-1]}
    return {key: value for key, value in each.fields.items() if key not in hidden}


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _kind(value: Any) -> str:
    """A value for a message, which quotes no texts of users."""
    if isinstance(value, bool | int | float) or _number(value) is not None:
        return str(value)
    return f"a text of {len(value)} characters" if isinstance(value, str) else f"a {type(value).__name__}"
