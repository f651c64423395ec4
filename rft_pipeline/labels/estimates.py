"""Mean scores of a campaign's rollouts: by the judge, by people, and by the judge corrected with people's labels.

Axes: N rollouts, C criteria.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.rubric import Rubric
from rft_pipeline.labels.exports import exports_of, inclusions
from rft_pipeline.labels.population import with_scores
from rft_pipeline.labels.table import labels_of
from rft_pipeline.stats import Interval
from rft_pipeline.stats.ppi import Estimates, prediction_powered
from rft_pipeline.store import Home, RecordStore

REWARD = "reward"


def estimates(campaign: Campaign, home: Home) -> dict[str, Estimates]:
    """`estimated` over all current rounds."""
    records = RecordStore(home.store)
    rounds = range(1, campaign.rounds + 1)
    found = [records.current(f"{campaign.name}/round_{round_}/judge_scores") for round_ in rounds]
    scores = [
        pl.read_parquet(record.path("judge_scores.parquet"), glob=False) for record in found if record is not None
    ]
    return estimated(campaign.name, campaign.rubric, labels_of(campaign, home.store), scores, home.store)


def estimated(
    campaign: str, rubric: Rubric, labels: pl.DataFrame, scores: Sequence[pl.DataFrame], store: Path
) -> dict[str, Estimates]:
    """Estimates of each labelled criterion's mean and, under `reward`, of the mean reward; empty without labels.

    The population is the rollouts that imported exports could have drawn and that `scores` (rollout_id, criterion,
    score) contains. Several labels of one rollout count as their mean. A reward by people needs labels for all weighted
    criteria with a model judge, and uses a rule's score if nobody labelled it. Unlabelled rows of an export are assumed
    to be missing at random.
    """
    came_back = [export for export in exports_of(campaign, store) if export.id in set(labels["batch"])]
    if not came_back or not scores:
        return {}
    names = rubric.names
    judged = pl.concat(scores).unique(["rollout_id", "criterion"], keep="last", maintain_order=True)
    known = inclusions(came_back, store).join(judged, on="rollout_id", how="semi", maintain_order="left")
    rows = with_scores(known, judged, names)
    judge_NC, human_NC = _scores_and_labels(rubric, labels, rows)

    found = {}
    for place, name in enumerate(names):
        if not np.isnan(human_NC[:, place]).all():
            found[name] = _powered(judge_NC[:, place], human_NC[:, place], rows)
    human_N = rewards_of(rubric, _with_rules(rubric, human_NC, judge_NC))
    if not np.isnan(human_N).all():
        found[REWARD] = _powered(rewards_of(rubric, judge_NC), human_N, rows)
    return found


def by_people(rubric: Rubric, labels: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """People's rewards and scores of N replies (rollout_id, scores as a struct by criterion): `human`, the reward as in
    `estimated`, and `human_scores`, a struct by criterion; null if not labelled."""
    judge_NC, human_NC = _scores_and_labels(rubric, labels, rows)
    human_N = rewards_of(rubric, _with_rules(rubric, human_NC, judge_NC))
    scores = pl.DataFrame(human_NC, schema=dict.fromkeys(rubric.names, pl.Float64)).fill_nan(None)
    return pl.DataFrame(
        {"human": pl.Series(human_N, dtype=pl.Float64).fill_nan(None), "human_scores": scores.to_struct()}
    )


def _powered(judge_N: np.ndarray, human_N: np.ndarray, rows: pl.DataFrame) -> Estimates:
    """With intervals clipped to [0, 1]."""
    found = prediction_powered(judge_N, human_N, rows["inclusion"].to_numpy(), rows["prompt_id"].to_numpy())
    judge, human, powered = (Interval(*np.clip(each, 0.0, 1.0).tolist()) for each in found[:3])
    return Estimates(judge, human, powered, found.power, found.labelled)


def _scores_and_labels(rubric: Rubric, labels: pl.DataFrame, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The judge's scores and the means of people's labels, both N × C, with NaN for none."""
    means = labels.group_by("rollout_id", "criterion").agg(pl.col("value").mean())
    judge_NC = rows["scores"].struct.unnest().select(pl.col(rubric.names).cast(pl.Float64)).to_numpy()
    return judge_NC, np.column_stack([_labels(rows, means.filter(criterion=name)) for name in rubric.names])


def _labels(rows: pl.DataFrame, means: pl.DataFrame) -> np.ndarray:
    joined = rows.select("rollout_id").join(means, on="rollout_id", how="left", maintain_order="left")
    return joined["value"].cast(pl.Float64).to_numpy()


def _with_rules(rubric: Rubric, human_NC: np.ndarray, judge_NC: np.ndarray) -> np.ndarray:
    """Labels, filled with the scores of rules on rollouts that have any label."""
    labelled_N = ~np.isnan(human_NC).all(axis=1)
    by_rule_C = np.array([not criterion.judged for criterion in rubric.criteria])
    return np.where(np.isnan(human_NC) & by_rule_C & labelled_N[:, None], judge_NC, human_NC)


def rewards_of(rubric: Rubric, score_NC: np.ndarray) -> np.ndarray:
    """Rewards of N rows of scores (N × C, NaN for none): the weighted mean, 0 below a gate; NaN if a criterion with
    weight or gate has no score."""
    weights, gates = rubric.weights(), rubric.gates()
    weight_C = np.array([weights[name] for name in rubric.names])
    gate_C = np.array([gates.get(name, -np.inf) for name in rubric.names])
    needed_C = (weight_C > 0) | np.isfinite(gate_C)
    reward_N: np.ndarray = np.nan_to_num(score_NC) @ weight_C
    reward_N[(score_NC < gate_C).any(axis=1)] = 0.0
    reward_N[np.isnan(score_NC[:, needed_C]).any(axis=1)] = np.nan
    return reward_N
