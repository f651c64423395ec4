"""SFT, a warm start: imitate the replies with the best labels, or the prompts' references."""

from rft_pipeline.trainers.base import TrainJob
from rft_pipeline.trainers.examples import good_answers
from rft_pipeline.trainers.imitation import imitate


def train_sft(job: TrainJob) -> dict[str, float]:
    """Train on the good answers. Raises `GateError` if no prompt has one."""
    return imitate(job, good_answers(job.batch, job.training, job.weights))
