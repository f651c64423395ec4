"""Further prompts in place of groups without variance (dynamic sampling of DAPO, Yu et al. 2025, arXiv 2503.14476)."""

from collections.abc import Callable

import polars as pl

from rft_pipeline.rewards.batch import NO_VARIANCE
from rft_pipeline.rewards.group_noise import WITHIN_NOISE
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.reward_batches import make_reward_batch
from rft_pipeline.stages.rollouts import spare_prompts


class Refill:
    """Refills the generations of a round, each with at most `rollouts.refill` prompts.

    They are the train prompts that the round does not draw, in a seeded order, each at most once a round. How many a
    generation takes follows from its scores, which are kept, so a killed round takes the same ones again.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.most = job, job.campaign.rollouts.refill
        self.spare = spare_prompts(job) if self.most else pl.DataFrame()
        self.taken: list[int] = []
        """Prompts of each generation so far."""

    def fill(
        self,
        rows: pl.DataFrame,
        scores: pl.DataFrame,
        sample: Callable[[pl.DataFrame], pl.DataFrame],
        judge: Callable[[int, pl.DataFrame], pl.DataFrame],
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """A generation's rollouts and scores with those of further prompts: as many as there are groups without
        variance, and again for those of them without. `judge` gets a number of its own each time."""
        if not self.most:
            return rows, scores
        found, judged, taken = [rows], [scores], 0
        while wanted := min(_flat(self.job, found[-1], judged[-1]), self.most - taken):
            prompts, self.spare = self.spare.head(wanted), self.spare.slice(wanted)
            if prompts.is_empty():
                break
            found.append(sample(prompts))
            judged.append(judge(len(judged), found[-1]))
            taken += prompts.height
        self.taken.append(taken)
        return pl.concat(found), pl.concat(judged)


def _flat(job: Job, rows: pl.DataFrame, scores: pl.DataFrame) -> int:
    """The number of groups without variance, or with none beyond the judge's noise."""
    batch = make_reward_batch(job, rows, scores)
    return batch.filter(pl.col("excluded").is_in([NO_VARIANCE, WITHIN_NOISE]))["prompt_id"].n_unique()
