"""What the generations of a round made, and the files of a checkpoint that tell of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import polars as pl

from rft_pipeline.stages.reward_batches import used_share
from rft_pipeline.store import Record
from rft_pipeline.store.records import STEPS
from rft_pipeline.store.rows import ANSWER_TOKENS, ENVIRONMENT
from rft_pipeline.trainers.rows import LOGPROBS

if TYPE_CHECKING:
    from rft_pipeline.trainers.launched_session import LaunchedSession
    from rft_pipeline.trainers.session import Session

GENERATIONS = "generations.jsonl"
"""A file of a checkpoint's record: a line a generation."""
GAP = "logprob_gap"
"""The first letters of the numbers of a generation that compare the engine's log-probs with the trainer's."""
REFILLED = "refilled"
"""The number of prompts that were sampled in place of groups without variance, where `rollouts.refill` allows any."""
STEP_CURVES = ("effective_share", "clip_ratio", "kl_to_start", "loss")
"""The metrics of steps that are averaged over a generation."""


@dataclass
class RoundMade:
    """What the generations of a round made."""

    session: "Session | LaunchedSession"
    rollouts: pl.DataFrame
    scores: pl.DataFrame
    batch: pl.DataFrame
    sampled: int
    """Rollouts that were sampled now."""
    judged: Mapping[str, int]
    """Judgements that were made now, by criterion."""
    generations: list[dict[str, Any]]
    """One a generation: its numbers."""
    logprobs: pl.DataFrame
    """rollout_id, old_logprobs."""
    lines: list[dict[str, Any]]
    """One an optimiser step: its number and metrics, with the numbers of its generation."""

    @property
    def refilled(self) -> dict[str, int]:
        """`refilled` of the round; empty where it cannot be refilled."""
        return refilled_in(self.generations)

    @property
    def steps(self) -> int:
        return len(self.lines)

    def finish(self, folder: Path) -> dict[str, float]:
        """Write the checkpoint and its files; the metrics of the last step, and the gaps of log-probs, which are means
        over the generations."""
        last = self.session.finish(folder)
        for name, lines in ((STEPS, self.lines), (GENERATIONS, self.generations)):
            (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        self.logprobs.write_parquet(folder / LOGPROBS)
        self.draw(folder, *STEP_CURVES, GAP)
        names = dict.fromkeys(name for each in self.generations for name in each if name.startswith(GAP))
        gaps = {name: fmean(each[name] for each in self.generations if name in each) for name in names}
        return {**last, **gaps}

    def draw(self, folder: Path, *names: str) -> None:
        """Draw these numbers over the generations; `score_` stands for every criterion."""
        from rft_pipeline.report.learning import learning_curves
        from rft_pipeline.report.plots import to_png

        def is_drawn(number: str) -> bool:
            return number == "generation" or number.startswith(names)

        shown = [{name: value for name, value in each.items() if is_drawn(name)} for each in self.generations]
        for name, chart in learning_curves(shown).items():
            (folder / f"{name}.png").write_bytes(to_png(chart))


def generations_of(checkpoint: Record) -> list[dict[str, Any]]:
    """The numbers of the generations that made a checkpoint; empty where its round was sampled at once."""
    path = checkpoint.folder / GENERATIONS
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def refilled_in(generations: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """`refilled` of generations together; empty where none could be refilled."""
    found = [each[REFILLED] for each in generations if REFILLED in each]
    return {REFILLED: sum(found)} if found else {}


def numbers_of(rows: pl.DataFrame, scores: pl.DataFrame, batch: pl.DataFrame) -> dict[str, float | None]:
    """What a generation's rollouts are like: reward, each criterion, length, and what can be learnt from."""
    means = scores.group_by("criterion", maintain_order=True).agg(pl.col("score").mean())
    return {
        "reward": batch.select(pl.col("reward").mean()).item(),
        **{f"score_{name}": mean for name, mean in means.iter_rows()},
        **token_lengths(rows),
        "truncated_share": rows.filter(finish_reason="length").height / rows.height,
        "groups_used_share": used_share(batch),
    }


def token_lengths(rows: pl.DataFrame) -> dict[str, float]:
    """The mean length of answers in tokens; and of thoughts, if there are any."""
    answered = pl.col(ENVIRONMENT).list.len() if ENVIRONMENT in rows.columns else 0
    lengths = {"length_mean": float(rows.select((ANSWER_TOKENS - answered).mean()).item())}
    thoughts = float(rows.select(pl.col("thought_tokens").mean()).item())
    return lengths | ({"thought_length_mean": thoughts} if thoughts else {})


def means_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The number of a generation's steps, and the means of their metrics that all of them have."""
    known = (name for name in STEP_CURVES if lines and all(name in line for line in lines))
    return {name: fmean(line[name] for line in lines) for name in known} | {"steps": len(lines)}
