"""What TRL is handed of a batch that was made by hand."""

import polars as pl

from rft_pipeline.trainers.replay import Replay


def test_rollouts_beside_a_truncated_one_keep_their_advantages() -> None:
    """TRL takes the group's mean off what it is handed: with 0 for the truncated one it would be another advantage."""
    stored = [1.5, -0.5, -0.5, -0.5]
    batch = pl.DataFrame(
        {
            "prompt_id": ["p"] * 4,
            "sample_index": range(4),
            "prompt_tokens": [[1]] * 4,
            "tokens": [[2, 3]] * 4,
            "logprobs": [[0.0, 0.0]] * 4,
            "advantage": stored,
            "excluded": pl.Series([None] * 4, dtype=pl.String),
            "finish_reason": ["length", "stop", "stop", "stop"],
        }
    )
    replay = Replay(batch, batch_size=8, seed=7, mask_truncated=True)
    handed = replay([prompt for prompt in replay.prompt_order for _ in range(4)], None)
    assert handed["advantage"] == [*stored, 0.0, 0.0, 0.0, 0.0]  # the second group only fills the step
    assert handed["env_mask"] == [[0, 0], [1, 1], [1, 1], [1, 1], *[[0, 0]] * 4]
