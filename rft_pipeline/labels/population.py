"""The rollouts that can be drawn for people: those of all rounds with scores and rewards.

Axes: N rollouts, C criteria with a model judge.
"""

from collections import defaultdict

import numpy as np
import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import REPLY, as_rollout, judged_criteria_in
from rft_pipeline.campaign.subjects import subjects_of
from rft_pipeline.errors import StoreError
from rft_pipeline.judges import squashed
from rft_pipeline.judges.checklist import judges_items
from rft_pipeline.store import Home, Record, RecordStore, judgements_table
from rft_pipeline.store.rows import judgement_id


def population(campaign: Campaign, home: Home) -> pl.DataFrame:
    """A row per rollout, ordered by id: rollout_id, prompt_id, what a judge may see, scores (a struct by criterion),
    reward (or null) and unsure.

    `unsure` in [0, 1] is the mean of two measures over criteria with a model judge: closeness of the scores to 0.5 (an
    unscored one counts as 0.5), and twice their standard deviation, averaged over the members of each panel and over
    the criteria. Raises `StoreError` if no round is finished.
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
        raise StoreError(f"{campaign.name} has no judged round; run it first: rft run {campaign.name}")
    return pl.concat(found).unique("rollout_id", keep="last", maintain_order=True).sort("rollout_id")


def with_scores(rows: pl.DataFrame, scores: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Rows with `scores`, a struct of the judges' scores by criterion, null if unscored."""
    by_name = scores.select("rollout_id", "criterion", "score").pivot("criterion", index="rollout_id", values="score")
    columns = [pl.col(name) if name in by_name.columns else pl.lit(None).alias(name) for name in names]
    wide = by_name.select("rollout_id", pl.struct([each.cast(pl.Float64) for each in columns]).alias("scores"))
    without = rows.drop("scores", strict=False)
    return without.join(wide, on="rollout_id", how="left", maintain_order="left")


def _unsure(rows: pl.DataFrame, judged: list[str], panel_spreads: list[np.ndarray]) -> np.ndarray:
    score_NC = rows["scores"].struct.unnest().select(judged).to_numpy()
    closeness_N = 1 - np.abs(2 * np.nan_to_num(score_NC, nan=0.5) - 1).mean(axis=1)
    spreads = [np.nan_to_num(score_NC, nan=0.5).std(axis=1), *panel_spreads]
    unsure_N: np.ndarray = (closeness_N + 2 * np.mean(spreads, axis=0)) / 2
    return unsure_N


def _panels(rows: pl.DataFrame, scores: Record, home: Home) -> list[np.ndarray]:
    """For each panel, the standard deviation of its members' scores of each rollout."""
    views = [as_rollout(row) for row in rows.select(REPLY).iter_rows(named=True)]
    opinions: dict[str, list[np.ndarray]] = defaultdict(list)
    for asked in judged_criteria_in(scores.payload):
        panel, dot, _ = asked.name.partition(".")
        if dot and not judges_items(asked.payload):
            subjects = subjects_of(views, asked.payload)
            keys = pl.DataFrame({"judgement_id": [judgement_id(*asked.key, subject) for subject in subjects]})
            kept = squashed(judgements_table(home.store).read(keys.unique()), asked.payload)
            known = keys.join(kept, on="judgement_id", how="left", maintain_order="left")["score"]
            opinions[panel].append(known.fill_null(0.5).to_numpy())
    return [np.std(members, axis=0) for members in opinions.values()]
