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

Trace = RecordTrace | RolloutTrace | PromptTrace | CriterionTrace

_FINGERPRINT = re.compile(r"[0-9a-f]{6,16}")
_NAMES = """\
a record       support_reply/round_2/checkpoints (the one in force), …/<fingerprint>, or 6 or more digits of that
a rollout      its rollout_id, 16 hex digits
a prompt       its id in your file, its prompt_id, or 6 or more digits of it
a criterion    support_reply:polite (all its versions), or 6 or more digits of its fingerprint"""


class _Hit(NamedTuple):
    """Something that a name may mean."""

    kind: str
    name: str
    """An address, a prompt_id, or criterion fingerprints."""
    note: str = ""
    """What tells it from others."""


def trace(home: Home, what: str, campaign: str | None = None) -> Trace:
    """The trace of a record, rollout, prompt or criterion; `campaign` narrows what `what` may mean.

    Raises `StoreError` for a name that means nothing here, with near ones, or several things.
    """
    index = Index(home)
    if not index.records:
        raise StoreError(f"nothing to trace: {home.store} holds no records; run a campaign with `rft run CAMPAIGN`")
    if campaign is not None and campaign not in {campaign_of(record) for record in index.records}:
        there = ", ".join(sorted({campaign_of(record) for record in index.records}))
        raise StoreError(f"--campaign {campaign}: no records of it in {home.store}; there are: {there}")
    prompts = _prompts(index, campaign)
    hits = [*_records(index, what, campaign), *_criteria(index, what, campaign), *_prompt_hits(prompts, what)]
    if not hits and len(what) == 16 and _FINGERPRINT.fullmatch(what):
        rows = find_rollouts(index, pl.col("rollout_id") == what)
        if rows.height:
            return trace_rollout(index, rows)
    if not hits:
        raise StoreError(_unknown(index, what, prompts))
    if len(hits) > 1:
        meant = "\n".join(f"  {hit.kind:<10} {hit.name} {hit.note}".rstrip() for hit in hits)
        raise StoreError(f"{what!r} can mean {len(hits)} things; name one of them, or give --campaign:\n{meant}")
    match hits[0].kind:
        case "record":
            return trace_record(index, index.by_address[hits[0].name])
        case "prompt":
            return trace_prompt(index, hits[0].name, campaign)
        case _:
            return trace_criterion(index, hits[0].name.split())


def _records(index: Index, what: str, campaign: str | None) -> list[_Hit]:
    """By key, by address, or by the beginning of the fingerprint with or without the key."""
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
    """By campaign and name (all versions in one), or by the beginning of the fingerprint."""
    asked = index.criteria
    if what in index.criterion_names:
        mine = [
            fp for fp, uses in asked.items() if any(f"{campaign_of(record)}:{name}" == what for record, name in uses)
        ]
        return [_Hit("criterion", " ".join(mine))]
    if not _FINGERPRINT.fullmatch(what):
        return []
    return [
        _Hit("criterion", fp)
        for fp, uses in asked.items()
        if fp.startswith(what) and (campaign is None or any(campaign_of(record) == campaign for record, _ in uses))
    ]


def _prompts(index: Index, campaign: str | None) -> pl.DataFrame:
    """All prompts there are records of: campaign, in_force, prompt_id, id."""
    frames = [
        pl.read_parquet(record.path("prompts.parquet"), columns=["prompt_id", "id"], glob=False).select(
            pl.lit(campaign_of(record)).alias("campaign"),
            pl.lit(record.address in index.in_force).alias("in_force"),
            "prompt_id",
            "id",
        )
        for record in index.of_stage("prompts")
        if campaign in (None, campaign_of(record))
    ]
    schema = {"campaign": pl.String, "in_force": pl.Boolean, "prompt_id": pl.String, "id": pl.String}
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def _prompt_hits(prompts: pl.DataFrame, what: str) -> list[_Hit]:
    """By the id in the file (its present wording, when it has one), or by the beginning of the prompt_id."""
    named = prompts.filter(pl.col("id") == what)
    named = named.filter(pl.col("in_force") | ~pl.col("in_force").any().over("campaign"))
    begun = prompts.filter(pl.col("prompt_id").str.starts_with(what)) if _FINGERPRINT.fullmatch(what) else named
    shown = pl.concat_str("campaign", "id", separator=": ").unique(maintain_order=True).str.join(", ")
    found = pl.concat([named, begun]).group_by("prompt_id", maintain_order=True).agg(shown.alias("note"))
    return [_Hit("prompt", prompt_id, f"({note})") for prompt_id, note in found.iter_rows()]


def _unknown(index: Index, what: str, prompts: pl.DataFrame) -> str:
    names: dict[str, str] = {key: key for key in index.keys}
    names |= {record.fingerprint: record.address for record in index.records}
    for name in sorted(index.criterion_names):
        names |= {name: name, name.partition(":")[2]: name}
    names |= {name: name for name in prompts["id"]}
    near = dict.fromkeys(names[close] for close in _close(what, names))
    said = f"\nnear it: {', '.join(near)}" if near else ""
    return f"{what!r}: nothing is called so in {index.home.store}{said}\n`rft trace` understands:\n{_NAMES}"


def _close(what: str, names: Iterable[str]) -> list[str]:
    beginning = [name for name in names if name.startswith(what)][:5]
    return beginning or difflib.get_close_matches(what, names, n=5, cutoff=0.6)
