"""A stored reward batch, played back to TRL's GRPOTrainer.

TRL samples and scores on its own account; here `rollout_func` hands it the stored tokens, and the only reward function
hands it the stored advantage.
"""

from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import torch
from trl import GRPOTrainer
from trl.trainer.utils import entropy_from_logits, selective_log_softmax

from rft_pipeline.errors import GateError
from rft_pipeline.fingerprint import seed_of

_FILLER = "filler:"


def stored_advantage(completions: list[str], advantage: list[float], **_: Any) -> list[float]:
    """The reward function TRL sees: the advantage of the batch."""
    return advantage


class Replay:
    """Hands TRL the stored rollouts, group by group; the `rollout_func`.

    Only groups that can teach are replayed. Their number is filled up, so that whole optimiser steps come out, with
    copies whose every token is masked.
    """

    def __init__(self, batch: pl.DataFrame, batch_size: int, seed: int) -> None:
        used = batch.filter(pl.col("excluded").is_null())["prompt_id"].unique().to_list()
        if not used:
            raise GateError("the reward batch has no group with variance: nothing to learn from")
        used.sort(key=lambda prompt_id: seed_of(seed, "training order", prompt_id))
        rows = batch.filter(pl.col("prompt_id").is_in(used)).sort("prompt_id", "sample_index")
        self.rows = {str(key[0]): part.to_dicts() for key, part in rows.group_by("prompt_id", maintain_order=True)}
        self.group_size = len(self.rows[used[0]])
        self.batch_size = batch_size
        fillers = 0
        while (len(used) + fillers) * self.group_size % batch_size:
            fillers += 1
        self.prompt_order = used + [f"{_FILLER}{used[i % len(used)]}" for i in range(fillers)]
        self.calls = 0

    @property
    def size(self) -> int:
        """Rollouts in one pass, fillers included."""
        return len(self.prompt_order) * self.group_size

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        self.calls += 1
        seen: Counter[str] = Counter()
        replayed = []
        for prompt in prompts:
            filler = prompt.startswith(_FILLER)
            row = self.rows[prompt.removeprefix(_FILLER)][seen[prompt] % self.group_size]
            seen[prompt] += 1
            live = not filler and row["excluded"] is None
            replayed.append((row, live))
        return {
            "prompt_ids": [row["prompt_tokens"] for row, _ in replayed],
            "completion_ids": [row["tokens"] for row, _ in replayed],
            "logprobs": [row["logprobs"] for row, _ in replayed],
            "env_mask": [[int(live)] * len(row["tokens"]) for row, live in replayed],
            "advantage": [row["advantage"] if live else 0.0 for row, live in replayed],
        }


class ReplayTrainer(GRPOTrainer):
    """TRL's trainer, with exact old log-probs, padding cut per forward pass, and two distances measured: the KL to the
    start, and how far the engine's log-probs are from the trainer's own."""

    temperature: float
    _skip_old_logps = False
    _newest_logps: torch.Tensor
    _newest_untempered: torch.Tensor | None
    _gaps: torch.Tensor

    def _prepare_inputs(self, generation_batch):  # type: ignore[no-untyped-def]
        """Old log-probs are taken slice by slice, with the rows and padding that the update will see.

        TRL takes them over the whole round before it shuffles; in bf16 the same row among other rows differs in the
        last digits, and the ratio would not be 1 before the first update.
        """
        calls = self.rollout_func.calls
        inputs = super()._prepare_inputs(generation_batch)
        if self.rollout_func.calls > calls:
            gaps = []
            with torch.no_grad():
                for part in self._buffered_inputs:
                    part["old_per_token_logps"] = self._log_probs_of(part)
                    gaps.append(self._gaps_of(part))
            self._gaps = torch.cat(gaps)
        return inputs

    def _gaps_of(self, part):  # type: ignore[no-untyped-def]
        """|trainer − engine| of each live token's log-prob, in nats. Engines give it at temperature 1: where the head
        did not, one more pass is made."""
        own = self._newest_untempered
        if own is None:
            temperature, self.temperature = self.temperature, 1.0
            own = self._newest_logps if temperature == 1 else self._log_probs_of(part)
            self.temperature = temperature
        live = (part["completion_mask"] * part["tool_mask"]).bool()
        return (own - part["sampling_per_token_logps"]).abs()[live].cpu()

    @property
    def logprob_gap(self) -> dict[str, float]:
        """How far the engine that drew the rollouts is from the trainer, over the live tokens of the batch, in nats."""
        gaps = self._gaps.double().numpy()
        return {"logprob_gap_mean": float(gaps.mean()), "logprob_gap_p99": float(np.quantile(gaps, 0.99))}

    def _generate_and_score_completions(self, inputs):  # type: ignore[no-untyped-def]
        round_steps = self.args.steps_per_generation * self.num_iterations
        self._skip_old_logps = self.args.gradient_accumulation_steps % round_steps != 0
        return super()._generate_and_score_completions(inputs)

    def _log_probs_of(self, part):  # type: ignore[no-untyped-def]
        input_ids = torch.cat([part["prompt_ids"], part["completion_ids"]], dim=1)
        attention_mask = torch.cat([part["prompt_mask"], part["completion_mask"]], dim=1)
        width = part["completion_ids"].shape[1]
        return self._get_per_token_logps_and_entropies(self.model, input_ids, attention_mask, width)[0]

    def _get_per_token_logps_and_entropies(  # type: ignore[no-untyped-def]
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, **kwargs
    ):
        """TRL pads every row to the longest of the whole round; equal results, without the empty columns.

        Rows are taken in order of length, so each pass of `batch_size` rows has little padding left.
        """
        if self._skip_old_logps:  # TRL's own pass, the first of a round
            self._skip_old_logps = False
            return torch.zeros(input_ids.shape[0], logits_to_keep, device=input_ids.device), None, None
        rows = input_ids.shape[0]
        size = batch_size or rows
        order = attention_mask.sum(1).argsort(stable=True)
        prompt_width = input_ids.shape[1] - logits_to_keep
        forward = super()._get_per_token_logps_and_entropies if input_ids.is_cuda else self._plain_head
        parts = []
        for start in range(0, rows, size):
            chosen = order[start : start + size]
            mask = attention_mask[chosen]
            left = int(mask[:, :prompt_width].argmax(1).min())
            keep = max(1, int(mask[:, prompt_width:].sum(1).max()))
            window = slice(left, prompt_width + keep)
            columns = forward(model, input_ids[chosen][:, window], mask[:, window], keep, **kwargs)
            widen = (0, logits_to_keep - keep)
            parts.append([None if x is None else torch.nn.functional.pad(x, widen) for x in columns])
        back = order.argsort()
        logps, entropies, self._newest_untempered = (
            None if column[0] is None else torch.cat(column)[back] for column in zip(*parts, strict=True)
        )
        self._newest_logps = logps
        return logps, entropies, None

    def _plain_head(self, model, input_ids, attention_mask, logits_to_keep, compute_entropy=False, **_):  # type: ignore[no-untyped-def]
        """Log-probs from whole logits, and where nothing is learnt those at temperature 1 as well.

        TRL's fused head saves memory on a GPU, and doubles a step's time on a CPU.
        """
        with self.accelerator.autocast():
            logits = model(
                input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=logits_to_keep + 1
            ).logits[:, :-1]
        tokens = input_ids[:, -logits_to_keep:]
        logits = logits.float()
        untempered = None if torch.is_grad_enabled() else selective_log_softmax(logits, tokens)
        logps = selective_log_softmax(logits.div_(self.temperature), tokens)
        entropies = None
        if compute_entropy:
            with torch.no_grad():
                entropies = entropy_from_logits(logits)
        return logps, entropies, untempered

    def _compute_loss(self, model, inputs):  # type: ignore[no-untyped-def]
        loss = super()._compute_loss(model, inputs)
        mask = inputs["completion_mask"] * inputs["tool_mask"]
        new = self._newest_logps.detach()
        log_ratio = new - inputs["old_per_token_logps"]
        kl = ((log_ratio.exp() - 1 - log_ratio) * mask).sum() / mask.sum().clamp(min=1)
        self._metrics["train"]["kl_to_start"].append(kl.item())
        return loss
