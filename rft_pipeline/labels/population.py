"""The rollouts that people can be asked about: all of a campaign's rounds that are judged and rewarded.

Axes: N rollouts, C criteria that a model decides.
"""

from collections import defaultdict

import numpy as np
import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import REPLY, as_rollout, judged_criteria_in, subjects_of
from rft_pipeline.errors import StoreError
from rft_pipeline.store import Home, Record, RecordStore, judgements_table
from rft_pipeline.store.tables import judgement_id


def population(campaign: Campaign, home: Home) -> pl.DataFrame:
    """A row a rollout, ordered by id: rollout_id, prompt_id, what a judge may see of it, scores (a struct by
    criterion), reward (or null) and unsure.

    `unsure` in [0, 1] is the mean of two things over the criteria that a model decides: how close the scores are to
    0.5 (an unscored one is as close as can be), and how far they spread, twice their standard deviation: the members
    of each panel among themselves, and the criteria among each other. Raises `StoreError` when no round is finished.
    """
    store = RecordStore(home.store)
    names = campaign.rubric.names
    judged = [each.name for each in campaign.rubric.judged] or names
    found = []
    for round_ in range(1, campaign.rounds + 1):
        batch = store.current(f"{campaign.name}/round_{round_}/reward_batches")
        scores = store.current(f"{campaign.name}/round_{round_}/judge_scores")
        if batch is None or scores is None:
            continue
        judged_by_models = pl.read_parquet(scores.path("judge_scores.parquet"), glob=False)
        rows = with_scores(pl.read_parquet(batch.path("reward_batches.parquet"), glob=False), judged_by_models, names)
        rows = rows.select("rollout_id", "prompt_id", *REPLY, "scores", "reward")
        found.append(rows.with_columns(pl.Series("unsure", _unsure(rows, judged, _panels(rows, scores, home)))))
    if not found:
        raise StoreError(f"{campaign.name} has no round that was judged; run it first: rft run {campaign.name}")
    return pl.concat(found).unique("rollout_id", keep="last", maintain_order=True).sort("rollout_id")


def with_scores(rows: pl.DataFrame, scores: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Rows with rollout_id, and `scores`: a struct of what the judges said by criterion, null where nothing."""
    said = scores.select("rollout_id", "criterion", "score").pivot("criterion", index="rollout_id", values="score")
    there = [pl.col(name) if name in said.columns else pl.lit(None).alias(name) for name in names]
    wide = said.select("rollout_id", pl.struct([each.cast(pl.Float64) for each in there]).alias("scores"))
    without = rows.drop("scores", strict=False)
    return without.join(wide, on="rollout_id", how="left", maintain_order="left")


def _unsure(rows: pl.DataFrame, judged: list[str], panel_spreads: list[np.ndarray]) -> np.ndarray:
    score_NC = rows["scores"].struct.unnest().select(judged).to_numpy()
    hover_N = 1 - np.abs(2 * np.nan_to_num(score_NC, nan=0.5) - 1).mean(axis=1)
    spreads = [np.nan_to_num(score_NC, nan=0.5).std(axis=1), *panel_spreads]
    unsure_N: np.ndarray = (hover_N + 2 * np.mean(spreads, axis=0)) / 2
    return unsure_N


def _panels(rows: pl.DataFrame, scores: Record, home: Home) -> list[np.ndarray]:
    """Of each panel, the standard deviation of its members' scores on each rollout."""
    views = [as_rollout(row) for row in rows.select(REPLY).iter_rows(named=True)]
    opinions: dict[str, list[np.ndarray]] = defaultdict(list)
    for asked in judged_criteria_in(scores.payload):
        panel, dot, _ = asked.name.partition(".")
        if dot:
            subjects = subjects_of(views, asked.payload)
            keys = pl.DataFrame({"judgement_id": [judgement_id(*asked.key, subject) for subject in subjects]})
            kept = judgements_table(home.store).read(keys.unique()).select("judgement_id", "score")
            known = keys.join(kept, on="judgement_id", how="left", maintain_order="left")["score"]
            opinions[panel].append(known.fill_null(0.5).to_numpy())
    return [np.std(members, axis=0) for members in opinions.values()]
