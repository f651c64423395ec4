"""Blind pairs: two replies to a prompt, shown left and right without a name.

To held-out prompts they are one reply each of two policies, and people compare the policies. To train prompts they are
two rollouts of a round, and people's preferred replies may be the references of a warm start.

`<store>/<campaign>/pair_exports/<id>.json` describes an export, `<id>.parquet` has a row per pair in the order of the
file. Only this row says which side is whose; it contains both replies, so that answers remain useful when rollouts are
removed.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import REPLY
from rft_pipeline.errors import StoreError
from rft_pipeline.files import replace_text
from rft_pipeline.fingerprint import fingerprint, seed_of
from rft_pipeline.labels.policies import policies, sides
from rft_pipeline.store import Home, RecordStore, preferences_table
from rft_pipeline.store.rows import pair_id
from rft_pipeline.store.shared import publish

FOLDER = "pair_exports"
LEFT, RIGHT, TIE = "left", "right", "tie"


@dataclass(frozen=True)
class PairExport:
    """Pairs that were exported together."""

    id: str
    campaign: str
    of: str
    """Name of the policy that the other one is compared with; of train prompts, the round of both rollouts."""
    against: str
    """Name of the other policy, usually the tuned one."""
    of_policy: str
    """Content hash of the weights."""
    against_policy: str
    prompts: int
    """Number of prompts with a reply on both sides."""
    identical: int
    """Number of these where both replies are the same. They are left out: nobody can prefer one."""
    drawn: int
    created: str
    held_out: bool = True
    """Whether the prompts are held-out ones."""


def draw_pairs(campaign: Campaign, home: Home, n: int, of: str | None = None, against: str | None = None) -> PairExport:
    """Draw up to n pairs at random, or return the same draw if it exists.

    `of` and `against` name the policies, see `policies.sides`. Prompts are in an order shuffled by the campaign's seed,
    without those whose pair somebody answered. Half of the pairs, at random, have the reply of `against` left.
    Raises `StoreError` without an eval report, if all replies are the same, or if every pair was answered.
    """
    start, tuned = sides(policies(campaign, home), campaign.name, of, against)
    first = [each.rows.filter(sample_index=0) for each in (start, tuned)]
    both = first[0].join(
        first[1].select("prompt_id", "rollout_id", "completion", "finish_reason"),
        on="prompt_id",
        suffix="_tuned",
        maintain_order="left",
    )
    same = pl.col("completion").str.strip_chars() == pl.col("completion_tuned").str.strip_chars()
    differing = both.filter(~same)
    if differing.is_empty():
        raise StoreError(
            f"{campaign.name}: {start.name} and {tuned.name} gave the same reply to every one of the {both.height} "
            "held-out prompts, so there is nothing to compare"
        )
    policies_of = (start.name, tuned.name, start.policy, tuned.policy)
    return _draw(campaign, home, differing, n, policies_of, both.height, held_out=True)


def draw_train_pairs(campaign: Campaign, home: Home, n: int) -> PairExport:
    """Draw up to n pairs of two rollouts of a train prompt at random, or return the same draw if it exists.

    Of each prompt of the newest round, its first rollout and the first one that differs. Raises `StoreError` without
    rollouts, if all rollouts of each prompt are the same, or if every pair was answered.
    """
    records = RecordStore(home.store)
    rounds = range(campaign.rounds, 0, -1)
    found = ((each, records.current(f"{campaign.name}/round_{each}/rollouts")) for each in rounds)
    round_, record = next(((each, record) for each, record in found if record is not None), (0, None))
    if record is None:
        raise StoreError(f"{campaign.name} has no rollouts yet; run it first: rft run {campaign.name}")
    rows = pl.read_parquet(record.path("rollouts.parquet"), glob=False)
    rows = rows.sort("prompt_id", "sample_index").select("prompt_id", "rollout_id", *REPLY)
    first = rows.unique("prompt_id", keep="first", maintain_order=True)
    both = rows.rename({name: f"{name}_tuned" for name in ("rollout_id", "completion", "finish_reason")}).join(
        first.drop("messages", "fields"), on="prompt_id", maintain_order="left"
    )
    same = pl.col("completion").str.strip_chars() == pl.col("completion_tuned").str.strip_chars()
    differing = both.filter(~same).unique("prompt_id", keep="first", maintain_order=True)
    if differing.is_empty():
        raise StoreError(f"{campaign.name}: all rollouts of each prompt of round {round_} are the same")
    name = f"round {round_}"
    return _draw(campaign, home, differing, n, (name, name, "", ""), first.height, held_out=False)


def _draw(
    campaign: Campaign,
    home: Home,
    differing: pl.DataFrame,
    n: int,
    policies_of: tuple[str, str, str, str],
    prompts: int,
    *,
    held_out: bool,
) -> PairExport:
    """Draw and store up to n of the pairs that nobody answered."""
    ids = [pair_id(*pair) for pair in differing.select("rollout_id", "rollout_id_tuned").iter_rows()]
    differing = differing.with_columns(pl.Series("pair_id", ids))
    batches = [export.id for export in pair_exports_of(campaign.name, home.store)]
    answered = preferences_table(home.store).rows(pl.col("batch").is_in(batches)).select("pair_id").collect()
    left = differing.join(answered, on="pair_id", how="anti", maintain_order="left")
    of, against, *contents = policies_of
    if left.is_empty():
        raise StoreError(
            f"{campaign.name}: people answered all {differing.height} pairs of {of} and {against}; for more "
            f"answers, have other people fill in the exported file, or add {'held-out' if held_out else 'train'} "
            "prompts"
        )
    order = [seed_of(campaign.seed, "pairs", each) for each in left["pair_id"]]
    drawn = left.with_columns(pl.Series("order", order)).sort("order", "pair_id").head(n)
    id_ = fingerprint([campaign.name, campaign.seed, *contents, drawn["pair_id"].to_list()])
    created = datetime.now(UTC).isoformat(timespec="seconds")
    counts = (prompts, prompts - differing.height, drawn.height)
    export = PairExport(id_, campaign.name, *policies_of, *counts, created, held_out)
    return _kept(export, with_sides(drawn, seed_of(campaign.seed, "pair sides", id_)), home.store)


def pair_exports_of(campaign: str, store: Path, *, held_out: bool | None = None) -> list[PairExport]:
    """A campaign's exports of pairs, oldest first; all, or those to held-out or to train prompts."""
    found = [pair_export_at(path) for path in (store / campaign / FOLDER).glob("*.json")]
    chosen = [export for export in found if held_out is None or export.held_out == held_out]
    return sorted(chosen, key=lambda export: (export.created, export.id))


def pair_export_at(path: Path) -> PairExport:
    """The export of a JSON file."""
    return PairExport(**json.loads(path.read_text(encoding="utf-8")))


def pair_rows(export: PairExport, store: Path) -> pl.DataFrame:
    """The pairs of an export in the order of its file: pair_id, prompt_id, messages, fields, left and right (rollout
    ids), left_reply, right_reply, left_finish_reason, right_finish_reason, and tuned (`left` or `right`: the side of
    `against`)."""
    return pl.read_parquet(store / export.campaign / FOLDER / f"{export.id}.parquet", glob=False)


def with_sides(drawn: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Rows as in `pair_rows`; on half of them, at random, the tuned reply is left."""
    is_left = np.random.default_rng(seed).permutation(drawn.height) % 2 == 0
    rows = drawn.with_columns(pl.Series("is_left", is_left))
    tuned_left = pl.when("is_left")
    return rows.select(
        "pair_id",
        "prompt_id",
        "messages",
        "fields",
        tuned_left.then("rollout_id_tuned").otherwise("rollout_id").alias(LEFT),
        tuned_left.then("rollout_id").otherwise("rollout_id_tuned").alias(RIGHT),
        tuned_left.then("completion_tuned").otherwise("completion").alias("left_reply"),
        tuned_left.then("completion").otherwise("completion_tuned").alias("right_reply"),
        tuned_left.then("finish_reason_tuned").otherwise("finish_reason").alias("left_finish_reason"),
        tuned_left.then("finish_reason").otherwise("finish_reason_tuned").alias("right_finish_reason"),
        tuned_left.then(pl.lit(LEFT)).otherwise(pl.lit(RIGHT)).alias("tuned"),
    )


def _kept(export: PairExport, rows: pl.DataFrame, store: Path) -> PairExport:
    """Store an export unless it exists; the JSON file is written last."""
    folder = store / export.campaign / FOLDER
    path = folder / f"{export.id}.json"
    if path.is_file():
        return pair_export_at(path)
    folder.mkdir(parents=True, exist_ok=True)
    rows.write_parquet(path.with_suffix(".parquet"))
    replace_text(path, json.dumps(asdict(export), indent=2, ensure_ascii=False) + "\n")
    publish(path.with_suffix(".parquet"), path)
    return export
