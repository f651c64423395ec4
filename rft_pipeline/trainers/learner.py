"""Takes optimiser steps on the rows of a generation: forward passes, loss, gradient, update.

Axes: N reply tokens of a pass.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from rft_pipeline.errors import ModelError
from rft_pipeline.trainers.loss import effective_share, policy_losses, token_weights
from rft_pipeline.trainers.packing import layout_of
from rft_pipeline.trainers.passes import Pass, collate, plan_passes
from rft_pipeline.trainers.rows import TrainingRow
from rft_pipeline.trainers.scoring import ScoredTokens, score
from rft_pipeline.trainers.updates import Updates

if TYPE_CHECKING:
    from rft_pipeline.trainers.settings import Training

ModelAndHead = tuple[Any, Any]
"""A model, perhaps wrapped for several processes, and its language-model head."""
Reference = Callable[[], AbstractContextManager[ModelAndHead]]
"""Opens the policy that the KL penalty is measured to."""

HIGHEST = 300.0
"""Maximum log-likelihood ratio of a rollout in the effective share, so that its square is finite."""


@dataclass
class Generation:
    """The rows of a generation and what is known about them. All log-probs are fp32 tensors on the CPU, by row."""

    rows: Sequence[TrainingRow]
    start: dict[int, torch.Tensor] = field(default_factory=dict)
    """Log-probs at the sampling temperature under the policy at the start of the generation."""
    reference: dict[int, torch.Tensor] = field(default_factory=dict)
    """The same under the reference of the KL penalty."""
    gaps: dict[int, torch.Tensor] = field(default_factory=dict)
    """|trainer − engine| at temperature 1, in nats, for live rows of this policy."""

    def old(self, i: int) -> torch.Tensor | None:
        """Log-probs under the policy that sampled a row; None if that is the present policy and not yet computed."""
        stored = self.rows[i].old_logprobs
        return self.start.get(i) if stored is None else torch.tensor(stored, dtype=torch.float32)

    def learn_start(self, found: dict[int, tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Keep log-probs at the sampling temperature and at temperature 1 under the policy at the start."""
        for i, (tempered, untempered) in found.items():
            row = self.rows[i]
            self.start[i] = tempered
            if row.live and row.old_logprobs is None and len(row.logprobs) == len(row.tokens):
                self.gaps[i] = (untempered - torch.tensor(row.logprobs, dtype=torch.float32)).abs()


class Learner:
    """A model with its optimiser; its passes compute in `dtype`, in bf16 on weights rounded by `seed`. Raises
    `ModelError` for a model without a language-model head."""

    def __init__(
        self,
        model: Any,
        accelerator: Accelerator,
        training: "Training",
        temperature: float,
        max_new_tokens: int,
        dtype: torch.dtype,
        seed: int = 0,
    ) -> None:
        self.training, self.accelerator = training, accelerator
        self.temperature, self.max_new_tokens = temperature, max_new_tokens
        self.dtype = dtype
        self.imitates = training.method != "grpo"
        causal = model.get_base_model() if hasattr(model, "peft_config") else model
        self.head = causal.get_output_embeddings()
        if self.head is None:
            raise ModelError(
                f"{type(causal).__name__}: an architecture without a language-model head cannot be trained"
            )
        text = causal.config.get_text_config()
        self.balance = float(getattr(text, "router_aux_loss_coef", None) or 0.0)
        if not hasattr(text, "output_router_logits"):
            self.balance = 0.0
        runtime = training.runtime
        self.layout = layout_of(causal, self.head, runtime.micro_batch_size, runtime.packing, self.balance > 0)
        self.updates = Updates(model, accelerator, training, dtype, seed)
        self.model = self.updates.model
        self.model.train()

    def step(self, generation: Generation, step: Sequence[int], steps: int, learning_rate: float) -> dict[str, float]:
        """Take one optimiser step on the rows `step`; its metrics. `steps` is that of one epoch of the generation."""
        began = time.monotonic()
        sums = self.backward(generation, step, steps)
        norm = self.updates.step(learning_rate)
        tokens = sum(generation.rows[i].length for i in step)
        return {
            "loss": sums["loss"],
            "grad_norm": norm,
            "learning_rate": learning_rate,
            **self._means(sums),
            "tokens_per_second": tokens / (time.monotonic() - began),
        }

    def backward(self, generation: Generation, step: Sequence[int], steps: int) -> dict[str, float]:
        """Add the gradient of a step; sums over its live tokens and rollouts, of all processes."""
        weights = token_weights(generation.rows, step, steps, self.training, self.max_new_tokens)
        new: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        totals: dict[str, torch.Tensor] = {}
        passes = list(self._passes(generation.rows, step))
        self.updates.expect(len(passes))
        for number, part in enumerate(passes, start=1):
            with self.accelerator.no_sync(self.model) if number < len(passes) else nullcontext():
                scored = self._score(part, self.balance > 0)
                if not part.idle:
                    new |= _by_row(part, scored)
                loss, sums = self._loss(generation, part, scored, weights)
                if scored.balance is not None:
                    loss = loss + self.balance * scored.balance * (len(part.rows) * (not part.idle) / len(step))
                # processes average their gradients
                self.accelerator.backward(loss * self.accelerator.num_processes)
            sums["loss"] = loss.detach()
            totals = {name: totals.get(name, 0.0) + value.double() for name, value in sums.items()}
        if not self.imitates and any(i not in generation.start for i in step):
            generation.learn_start(self._gathered(new))  # before the first update
        reduced = self.accelerator.reduce(torch.stack([totals[name] for name in sorted(totals)])).tolist()
        return dict(zip(sorted(totals), reduced, strict=True))

    def log_probs(
        self, rows: Sequence[TrainingRow], chosen: Sequence[int], reference: Reference | None = None
    ) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        """Log-probs of the chosen rows at the sampling temperature and at temperature 1, by row, in every process:
        under the policy as it is, or under the reference."""
        found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        with torch.no_grad(), reference() if reference else nullcontext((self.model, self.head)) as policy:
            for part in self._passes(rows, chosen):
                scored = self._score(part, policy=policy)
                found |= {} if part.idle else _by_row(part, scored)
        return self._gathered(found)

    def effective_share(self, rows: Sequence[TrainingRow]) -> float:
        """The effective share of the live rows that carry `old_logprobs`, under the policy as it is."""
        carried = [i for i, row in enumerate(rows) if row.old_logprobs is not None and row.live]
        if not carried:
            return 1.0
        found = self.log_probs(rows, carried)
        ratios = [found[i][0].double().sum() - sum(rows[i].old_logprobs or ()) for i in carried]
        w = torch.stack(ratios).clamp(max=HIGHEST).exp()
        return effective_share(float(w.sum()), float((w**2).sum()), len(carried))

    def _passes(self, rows: Sequence[TrainingRow], chosen: Sequence[int]) -> Iterable[Pass]:
        """The passes of this process."""
        plans = plan_passes(rows, chosen, self.layout, self.accelerator.num_processes)
        for plan in plans[self.accelerator.process_index]:
            yield collate(rows, plan, self.accelerator.device, self.dtype)

    def _score(self, part: Pass, balance: bool = False, policy: ModelAndHead | None = None) -> ScoredTokens:
        model, head = policy or (self.model, self.head)
        temperature = 1.0 if self.imitates else self.temperature
        wide = self.dtype != torch.float32 and not self.updates.narrow
        with torch.autocast(self.accelerator.device.type, self.dtype, enabled=wide):
            return score(model, head, part, temperature, balance)

    def _loss(
        self, generation: Generation, part: Pass, scored: ScoredTokens, weights: dict[int, float]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a pass; sums over its live tokens and rollouts."""
        rows, busy = [generation.rows[i] for i in part.rows], float(not part.idle)
        new_N = scored.logprobs_N
        sampled_N = part.outside([row.environment for row in rows])
        counted_N = sampled_N * part.after([row.masked for row in rows])
        live_N = counted_N * part.per_token([busy * row.live for row in rows])
        weight_N = counted_N * part.per_token([busy * weights[i] for i in part.rows])
        sums = {"tokens": live_N.sum(), "entropy": (scored.entropy_N * live_N).sum()}
        if self.imitates:
            return -(new_N * weight_N).sum(), {**sums, "top": (scored.top_N * live_N).sum()}

        def of_rows(known: list[torch.Tensor | None]) -> torch.Tensor:
            """Log-probs of all tokens; those that are not known are the present ones."""
            own = new_N.detach().split(part.counts)
            return torch.cat([b if a is None else a.to(b.device) for a, b in zip(known, own, strict=True)])

        old_N = of_rows([generation.old(i) for i in part.rows])
        start_N = of_rows([generation.start.get(i) for i in part.rows])
        reference_N = of_rows([generation.reference[i] for i in part.rows]) if generation.reference else None
        advantage_N = part.per_token([row.advantage for row in rows])
        losses_N, clipped_N = policy_losses(new_N, old_N, advantage_N, self.training, reference_N)
        with torch.no_grad():
            moved_N = (new_N - start_N).double()
            ratio_N = (new_N - old_N).double() * sampled_N
            live_B = torch.tensor([bool(busy and row.live and row.tokens) for row in rows], device=new_N.device)
            w_B = part.sums(ratio_N)[live_B].clamp(max=HIGHEST).exp()
            sums |= {
                "kl": ((moved_N.exp() - 1 - moved_N) * live_N).sum(),
                "clipped": (clipped_N * live_N).sum(),
                "rollouts": live_B.sum(),
                "w": w_B.sum(),
                "w_squared": (w_B**2).sum(),
            }
        return (losses_N * weight_N).sum(), sums

    def _means(self, sums: dict[str, float]) -> dict[str, float]:
        tokens = max(sums["tokens"], 1.0)
        if self.imitates:
            return {"entropy": sums["entropy"] / tokens, "token_accuracy": sums["top"] / tokens}
        return {
            "entropy": sums["entropy"] / tokens,
            "clip_ratio": sums["clipped"] / tokens,
            "kl_to_start": sums["kl"] / tokens,
            "effective_share": effective_share(sums["w"], sums["w_squared"], sums["rollouts"]),
        }

    def _gathered(
        self, found: dict[int, tuple[torch.Tensor, torch.Tensor]]
    ) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        """What all processes have found."""
        if self.accelerator.num_processes == 1:
            return found
        return dict(gather_object(list(found.items())))


def _by_row(part: Pass, scored: ScoredTokens) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    columns = (each.detach().cpu().split(part.counts) for each in (scored.logprobs_N, scored.untempered_N))
    return dict(zip(part.rows, zip(*columns, strict=True), strict=True))
