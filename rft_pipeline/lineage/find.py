"""From a name to its trace."""

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from rft_pipeline.errors import StoreError
from rft_pipeline.lineage.index import Index, campaign_of
from rft_pipeline.lineage.rows import find_rollouts
from rft_pipeline.lineage.trace_criterion import CriterionTrace, trace_criterion
from rft_pipeline.lineage.trace_record import RecordTrace, trace_record
from rft_pipeline.lineage.trace_rows import PromptTrace, RolloutTrace, trace_prompt, trace_rollout
from rft_pipeline.store import Home

AnyTrace = RecordTrace | RolloutTrace | PromptTrace | CriterionTrace

_FINGERPRINT = re.compile(r"[0-9a-f]{6,16}")
_NAMES = """\
a record       support_reply/round_2/checkpoints (the current one), …/<fingerprint>, or 6 or more digits of that
a rollout      its rollout_id, 16 hex digits
a prompt       its id in your file, its prompt_id, or 6 or more digits of it
a criterion    support_reply:polite (all its versions), or 6 or more digits of its fingerprint"""


class _Hit(NamedTuple):
    """Something that matches a name."""

    kind: str
    name: str
    """An address, a prompt_id, or criterion fingerprints."""
    note: str = ""
    """Distinguishes it from other hits."""


def trace(home: Home, what: str, campaign: str | None = None) -> AnyTrace:
    """The trace of a record, rollout, prompt or criterion, of one campaign if given.

    Raises `StoreError` for a name that matches nothing (with similar names) or several things.
    """
    index = Index(home)
    if not index.records:
        raise StoreError(f"nothing to trace: {home.store} has no records; run a campaign with `rft run CAMPAIGN`")
    campaigns = sorted({campaign_of(record) for record in index.records})
    if campaign is not None and campaign not in campaigns:
        raise StoreError(f"--campaign {campaign}: {home.store} has no records of it; there are: {', '.join(campaigns)}")
    prompts = _prompts(index, campaign)
    hits = [*_records(index, what, campaign), *_criteria(index, what, campaign), *_prompt_hits(prompts, what)]
    if not hits and len(what) == 16 and _FINGERPRINT.fullmatch(what):
        rows = find_rollouts(index, pl.col("rollout_id") == what)
        if rows.height:
            return trace_rollout(index, rows)
    if not hits:
        raise StoreError(_unknown(index, what, prompts))
    if len(hits) > 1:
        lines = "\n".join(f"  {hit.kind:<10} {hit.name} {hit.note}".rstrip() for hit in hits)
        raise StoreError(f"{what!r} matches {len(hits)} things; name one of them, or give --campaign:\n{lines}")
    match hits[0].kind:
        case "record":
            return trace_record(index, index.by_address[hits[0].name])
        case "prompt":
            return trace_prompt(index, hits[0].name, campaign)
        case _:
            return trace_criterion(index, hits[0].name.split())


def _records(index: Index, what: str, campaign: str | None) -> list[_Hit]:
    """By key, by address, or by the first digits of the fingerprint, with or without the key."""
    if (current := index.current(what)) is not None:
        return [_Hit("record", current.address)]
    key, _, start = what.rpartition("/")
    if not _FINGERPRINT.fullmatch(start):
        return []
    return [
        _Hit("record", record.address)
        for record in index.records
        if record.fingerprint.startswith(start) and key in ("", record.key) and campaign in (None, campaign_of(record))
    ]


def _criteria(index: Index, what: str, campaign: str | None) -> list[_Hit]:
    """By campaign and name (all versions in one hit), or by the first digits of the fingerprint."""
    if what in index.criterion_names:
        versions = [
            fp
            for fp, uses in index.criteria.items()
            if any(f"{campaign_of(record)}:{name}" == what for record, name in uses)
        ]
        return [_Hit("criterion", " ".join(versions))]
    if not _FINGERPRINT.fullmatch(what):
        return []
    return [
        _Hit("criterion", fp)
        for fp, uses in index.criteria.items()
        if fp.startswith(what) and (campaign is None or any(campaign_of(record) == campaign for record, _ in uses))
    ]


def _prompts(index: Index, campaign: str | None) -> pl.DataFrame:
    """All prompts in records: campaign, is_current, prompt_id, id."""
    frames = [
        pl.read_parquet(record.path("prompts.parquet"), columns=["prompt_id", "id"], glob=False).select(
            pl.lit(campaign_of(record)).alias("campaign"),
            pl.lit(record.address in index.current_addresses).alias("is_current"),
            "prompt_id",
            "id",
        )
        for record in index.of_stage("prompts")
        if campaign in (None, campaign_of(record))
    ]
    schema = {"campaign": pl.String, "is_current": pl.Boolean, "prompt_id": pl.String, "id": pl.String}
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def _prompt_hits(prompts: pl.DataFrame, what: str) -> list[_Hit]:
    """By the id in the file (in its current wording if there is one), or by the first digits of the prompt_id."""
    by_id = prompts.filter(pl.col("id") == what)
    by_id = by_id.filter(pl.col("is_current") | ~pl.col("is_current").any().over("campaign"))
    by_digits = prompts.filter(pl.col("prompt_id").str.starts_with(what)) if _FINGERPRINT.fullmatch(what) else by_id
    note = pl.concat_str("campaign", "id", separator=": ").unique(maintain_order=True).str.join(", ")
    found = pl.concat([by_id, by_digits]).group_by("prompt_id", maintain_order=True).agg(note.alias("note"))
    return [_Hit("prompt", prompt_id, f"({note})") for prompt_id, note in found.iter_rows()]


def _unknown(index: Index, what: str, prompts: pl.DataFrame) -> str:
    names: dict[str, str] = {key: key for key in index.keys}
    names |= {record.fingerprint: record.address for record in index.records}
    for name in sorted(index.criterion_names):
        names |= {name: name, name.partition(":")[2]: name}
    names |= {name: name for name in prompts["id"]}
    similar = dict.fromkeys(names[each] for each in _similar(what, names))
    hint = f"\nsimilar names: {', '.join(similar)}" if similar else ""
    return f"{what!r}: nothing has this name in {index.home.store}{hint}\n`rft trace` accepts:\n{_NAMES}"


def _similar(what: str, names: Iterable[str]) -> list[str]:
    completed = [name for name in names if name.startswith(what)][:5]
    return completed or difflib.get_close_matches(what, names, n=5, cutoff=0.6)
