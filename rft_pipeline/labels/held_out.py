"""Draws replies to held-out prompts for people: for random prompts, one reply of every policy that the promotion
compares, so that labels can be paired by prompt.
"""

import json
from dataclasses import asdict

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import REPLY
from rft_pipeline.errors import StoreError
from rft_pipeline.fingerprint import fingerprint, seed_of
from rft_pipeline.labels.exports import Export, came_back, drawn_rows, kept, label_questions
from rft_pipeline.labels.table import labels_of
from rft_pipeline.store import Home, Record, RecordStore

DECISION, CHAMPION = "promotion.json", "promotion.parquet"
"""Files of a promotion: the decision, and the replies of a champion that is neither base nor one of the rounds."""


def draw_held_out(campaign: Campaign, home: Home, n: int) -> Export:
    """Draw up to n replies, or return the same draw if it exists: as many whole prompts as fit into n, at least one.

    Prompts are in an order shuffled by the campaign's seed, and each draw continues after the imported ones: prompts
    with every policy's reply in an imported export are done; of others only the missing replies are drawn. So all
    prompts labelled so far are a random sample. Draws that asked other questions than the rubric now asks do not count.
    Raises `StoreError` without a promotion, or if imported exports already have all its replies.
    """
    asked = label_questions(campaign)
    rows = _compared(campaign, home)
    returned = came_back(campaign.name, home.store, held_out=True)
    earlier = [export for export in returned if export.asks(asked)]
    labelled = [drawn_rows(export, home.store).select("rollout_id") for export in earlier]
    done = pl.concat([pl.DataFrame(schema={"rollout_id": pl.String}), *labelled])
    left = rows.join(done, on="rollout_id", how="anti", maintain_order="left")
    if left.is_empty():
        raise StoreError(
            f"{campaign.name}: imported exports already have all {rows['prompt_id'].n_unique()} held-out prompts; to "
            "change or add labels, import the file again"
        )
    order = {prompt: seed_of(campaign.seed, "held-out labels", prompt) for prompt in left["prompt_id"].unique()}
    policies = max(rows.group_by("prompt_id").len()["len"].to_list())
    chosen = sorted(order, key=lambda prompt: (order[prompt], prompt))[: max(1, n // policies)]
    drawn = left.filter(pl.col("prompt_id").is_in(chosen))["rollout_id"].to_list()
    mixed = sorted(drawn, key=lambda reply: (seed_of(campaign.seed, "held-out order", reply), reply))
    places = pl.DataFrame({"rollout_id": mixed, "place": range(len(mixed))})
    rows = left.join(places, on="rollout_id", how="left", maintain_order="left").with_columns(
        pl.col("place").fill_null(-1), pl.lit(len(chosen) / len(order)).alias("inclusion")
    )
    readable = {name: asdict(each) for name, each in asked.items()}
    id_ = fingerprint([campaign.name, campaign.seed, "held-out", readable, mixed])
    return kept(home.store, campaign.name, id_, len(earlier), asked, rows, held_out=True)


def prompts_labelled(campaign: Campaign, home: Home) -> int:
    """Number of held-out prompts where people labelled a reply of every policy that the promotion compares."""
    labels = labels_of(campaign, home.store, held_out=True)
    if labels.is_empty():
        return 0
    rows = _compared(campaign, home)
    lacking = rows.join(labels, on="rollout_id", how="anti")["prompt_id"]
    return len(set(rows["prompt_id"]) - set(lacking))


def _compared(campaign: Campaign, home: Home) -> pl.DataFrame:
    """The first reply to each held-out prompt of each policy that the current promotion compares: rollout_id, prompt_id
    and what a judge may see."""
    records = RecordStore(home.store)
    promotion = records.current(f"{campaign.name}/promotion")
    report = None if promotion is None else records.at(promotion.upstream["eval_reports"])
    if promotion is None or report is None:
        raise StoreError(
            f"{campaign.name}/promotion: there is no promotion on held-out replies yet; run it first: "
            f"rft run {campaign.name}"
        )
    columns = ("rollout_id", "prompt_id", *REPLY)
    replies = pl.read_parquet(report.path("eval_reports.parquet"), glob=False)
    found = [replies.filter((pl.col("round") > 0) | _is_champion(promotion), sample_index=0).select(columns)]
    if (champion := promotion.folder / CHAMPION).is_file():
        found.append(pl.read_parquet(champion, glob=False).filter(sample_index=0).select(columns))
    return pl.concat(found).unique("rollout_id", maintain_order=True)


def _is_champion(promotion: Record) -> pl.Expr:
    """Whether a reply is by the champion that the rounds were compared with."""
    decided = json.loads(promotion.path(DECISION).read_text(encoding="utf-8"))
    return pl.col("policy") == str(decided["champion_policy"])
