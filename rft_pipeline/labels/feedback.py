"""Users' feedback on logged replies: a sample that is kept for the judges, and drawn for people.

`rft labels import --from logs` reads the logs, redacts personal data, and keeps a sample of the replies in
`<store>/<campaign>/feedback/`. Feedback trains nothing and changes no verdict. A logged reply becomes an anchor only by
the labels of a person, who sees no feedback.
"""

import json
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import REPLY
from rft_pipeline.errors import ConfigError, StoreError
from rft_pipeline.files import replace_text
from rft_pipeline.fingerprint import canonical_json, fingerprint, seed_of
from rft_pipeline.labels.exports import Export, came_back, drawn_rows, kept, label_questions
from rft_pipeline.prompts.feedback import NEUTRAL, RatedReply, read_feedback
from rft_pipeline.prompts.overlap import Known
from rft_pipeline.prompts.reading import read_source
from rft_pipeline.prompts.redaction import Redactor
from rft_pipeline.store import Home
from rft_pipeline.store.shared import publish, remove

FEEDBACK = "labels.feedback"
"""Name of the source with users' feedback."""
FOLDER, CURRENT = "feedback", "current.json"
_LOGGED = pl.Schema(
    {**dict.fromkeys(("rollout_id", "prompt_id", *REPLY), pl.String()), "value": pl.Float64(), "week": pl.String()}
)


@dataclass(frozen=True)
class Stored:
    """The kept replies, and the numbers of all."""

    id: str
    rows: pl.DataFrame
    """A row per different reply: rollout_id (a hash of prompt and reply), prompt_id, what a judge may see, value (the
    mean of its feedback, in [0, 1]), week (of its first feedback, or null)."""
    counts: dict[str, Any]
    """Of the logs: rows, opted_out, without_reply, replies (with feedback), liked, disliked, different, kept; and
    redacted, by kind."""
    rejected: tuple[str, ...] = ()
    """After an import: place and reason of each row that was left out as wrong."""


def import_feedback(campaign: Campaign, home: Home, *, skip_wrong: bool = False) -> Stored:
    """Read the logs that `feedback` in campaign.yaml names, and keep a sample drawn by the seed; it replaces an earlier
    one. With `skip_wrong`, rows whose feedback cannot be read are left out.

    Raises `ConfigError` without these settings, and as `read_feedback` does.
    """
    settings = campaign.feedback
    if settings is None:
        raise ConfigError(
            f"{campaign.folder / 'campaign.yaml'}: feedback: is missing; to read feedback from logs, write "
            "`feedback: {logs: logs, columns: {feedback: thumbs}}`"
        )
    read = read_feedback(settings, campaign.folder, skip_wrong=skip_wrong)
    redactor, redacted = Redactor.of(settings, "feedback"), Counter[str]()
    by_reply: dict[str, list[RatedReply]] = defaultdict(list)
    for each in read.found:
        by_reply[fingerprint([each.messages, each.completion])].append(each)
    order = {name: seed_of(campaign.seed, "feedback", name) for name in by_reply}
    chosen = sorted(order, key=lambda name: (order[name], name))[: settings.sample]
    rows = pl.DataFrame([_row(by_reply[name], redactor, redacted) for name in chosen], schema=_LOGGED, orient="row")
    rows = rows.unique("rollout_id", keep="first").sort("rollout_id")
    values = [each.value for each in read.found]
    counts = {
        "rows": read.rows,
        "opted_out": read.opted_out,
        "without_reply": read.without_reply,
        "replies": len(values),
        "liked": sum(value > NEUTRAL for value in values),
        "disliked": sum(value < NEUTRAL for value in values),
        "different": len(by_reply),
        "kept": rows.height,
        "redacted": {kind: count for kind, count in sorted(redacted.items()) if count},
    }
    stored = Stored(fingerprint([rows.rows(), counts]), rows, counts, tuple(read.wrong))
    return _written(stored, home.store / campaign.name / FOLDER)


def stored_feedback(campaign: str, store: Path) -> Stored | None:
    """The feedback that was imported last; None without any. Raises `StoreError` if it cannot be read."""
    found = _current(campaign, store)
    if found is None:
        return None
    path = store / campaign / FOLDER / f"{found['id']}.parquet"
    try:
        return Stored(found["id"], pl.read_parquet(path, glob=False), found["counts"])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StoreError(f"{path}: cannot be read: {error}; {_import_again(campaign)}") from error


def feedback_source(campaign: str, store: Path) -> str | None:
    """A hash of the feedback that was imported last; None without any. Raises `StoreError` if it cannot be read."""
    found = _current(campaign, store)
    return None if found is None else str(found["id"])


def draw_feedback(campaign: Campaign, home: Home, n: int) -> Export:
    """Draw up to n of the kept replies for people, half of them liked and half disliked as far as there are, or return
    the same draw if it exists.

    Replies that an imported export has, and replies to prompts like held-out ones, are left out. Raises `StoreError` if
    nothing is left or was imported.
    """
    found = stored_feedback(campaign.name, home.store)
    if found is None:
        raise StoreError(f"{campaign.name}: no feedback was imported; rft labels import {campaign.name} --from logs")
    asked = label_questions(campaign)
    earlier = [each for each in came_back(campaign.name, home.store, logged=True) if each.asks(asked)]
    done = [drawn_rows(export, home.store).select("rollout_id") for export in earlier]
    rows = found.rows.filter(pl.col("value") != NEUTRAL)
    rows = rows.join(pl.concat([rows.select("rollout_id").clear(), *done]), on="rollout_id", how="anti")
    held_out = Known(read_source(campaign.prompts.eval, campaign.folder))
    near = [pair.eval_id for pair in held_out.alike(rows.select(pl.col("rollout_id").alias("id"), "messages"))]
    rows = rows.filter(~pl.col("rollout_id").is_in(near)).sort("rollout_id")
    if rows.is_empty():
        raise StoreError(
            f"{campaign.name}: none of the {found.rows.height} kept replies is left to label: they were labelled, or "
            "their prompts are like held-out ones"
        )
    rows = _drawn(rows, n, campaign.seed, len(earlier))
    id_ = fingerprint([campaign.name, "feedback", found.id, n, {k: asdict(q) for k, q in asked.items()}, rows.rows()])
    return kept(home.store, campaign.name, id_, len(earlier), asked, rows, logged=True)


def _current(campaign: str, store: Path) -> dict[str, Any] | None:
    path = store / campaign / FOLDER / CURRENT
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise StoreError(f"{path}: cannot be read: {error}; {_import_again(campaign)}") from error
    return found


def _import_again(campaign: str) -> str:
    return f"remove the folder and run rft labels import {campaign} --from logs"


def _drawn(rows: pl.DataFrame, n: int, seed: int, number: int) -> pl.DataFrame:
    """The rows with `inclusion` and `place`, −1 for those not drawn."""
    order = [seed_of(seed, "feedback labels", number, each) for each in rows["rollout_id"]]
    liked = pl.col("value") > NEUTRAL
    rows = rows.with_columns(pl.Series("order", order, dtype=pl.UInt64), liked.alias("liked"))
    sides = {side: rows.filter(liked=side).sort("order", "rollout_id") for side in (True, False)}
    few = min(sides, key=lambda side: sides[side].height)
    count = {few: min(n // 2, sides[few].height)}
    count[not few] = min(n - count[few], sides[not few].height)
    drawn = pl.concat([sides[side].head(count[side]) for side in sides]).sort("order", "rollout_id")
    places = drawn.select("rollout_id").with_row_index("place").with_columns(pl.col("place").cast(pl.Int64))
    share = {side: count[side] / max(1, sides[side].height) for side in sides}
    joined = rows.join(places, on="rollout_id", how="left", maintain_order="left")
    return joined.with_columns(
        pl.col("place").fill_null(-1), pl.when("liked").then(share[True]).otherwise(share[False]).alias("inclusion")
    ).drop("order", "liked")


def _row(same: list[RatedReply], redactor: Redactor, redacted: Counter[str]) -> dict[str, Any]:
    """The row of a reply, without personal data."""
    first = same[0]
    messages = redactor.clean(first.messages, redacted)
    completion = redactor.clean(first.completion, redacted)
    weeks = sorted(each.week for each in same if each.week is not None)
    return {
        "rollout_id": fingerprint(["logged", messages, completion]),
        "prompt_id": fingerprint(messages),
        "messages": canonical_json(messages),
        "completion": completion,
        "finish_reason": "stop",
        "fields": canonical_json(redactor.clean(first.fields, redacted)),
        "value": float(np.mean([each.value for each in same])),
        "week": weeks[0] if weeks else None,
    }


def _written(found: Stored, folder: Path) -> Stored:
    """Keep it in place of an earlier one."""
    folder.mkdir(parents=True, exist_ok=True)
    found.rows.write_parquet(folder / f"{found.id}.parquet")
    described = {"id": found.id, "created": datetime.now(UTC).isoformat(timespec="seconds"), "counts": found.counts}
    replace_text(folder / CURRENT, json.dumps(described, indent=2) + "\n")
    publish(folder / f"{found.id}.parquet", folder / CURRENT)
    for old in folder.glob("*.parquet"):
        if old.stem != found.id:
            remove(old)
    return found
