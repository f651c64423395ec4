"""TRL's GRPOTrainer for a replayed round, with exact old log-probs, less padding and measured ratios."""

import inspect
import math
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object, synchronize_rng_states
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback
from trl import GRPOTrainer
from trl.trainer.utils import entropy_from_logits, selective_log_softmax


class ReplayTrainer(GRPOTrainer):
    """TRL's trainer with exact old log-probs and padding removed per forward pass. It measures the KL to the start, and
    the difference between the engine's and the trainer's log-probs."""

    temperature: float
    _skip_old_logps = False
    _newest_logps: torch.Tensor
    _newest_untempered: torch.Tensor | None
    _gaps: torch.Tensor
    _buffered_inputs: Any
    _loss_inputs: dict[str, torch.Tensor] | None = None
    _step_sums: torch.Tensor | None = None
    round_file: Path
    """Stores the round with its slices, for a run that continues after a kill."""
    max_negative_ratio: float | None = None
    tokens_of_a_step = False
    """Whether each step's loss is divided by the tokens of that step instead of the round's mean per step."""

    def _prepare_inputs(self, generation_batch):  # type: ignore[no-untyped-def]
        """Compute old log-probs slice by slice, with the rows and padding of the later update.

        TRL computes them over the whole round before it shuffles. In bf16, the last digits of a row depend on the other
        rows of its batch, so the ratio would not be 1 before the first update. They are stored, because after a kill
        the policy that they belong to no longer exists.
        """
        if self._buffered_inputs is None and self.state.global_step > 0:
            self._step = self.state.global_step * self.args.gradient_accumulation_steps
            self._buffered_inputs, self._gaps = load_round(self.round_file, self.accelerator.device)
        calls = self.rollout_func.calls
        if self._buffered_inputs is None:
            synchronize_rng_states(["torch"])  # all processes shuffle in the same order
        inputs = super()._prepare_inputs(generation_batch)
        if self.rollout_func.calls == calls:
            return inputs
        if self.tokens_of_a_step:
            self._count_tokens_by_step()
        share, mine = self.args.per_device_train_batch_size, self.accelerator.process_index
        rows = slice(share * mine, share * (mine + 1))
        self._buffered_inputs = [
            {name: value[rows] if value.ndim else value for name, value in part.items() if value is not None}
            for part in self._buffered_inputs
        ]
        gaps = []
        with torch.no_grad():
            for part in self._buffered_inputs:
                part["old_per_token_logps"] = self._log_probs_of(part)
                gaps.append(self._gaps_of(part))
        self._gaps = torch.cat(gaps)
        save_round(self._buffered_inputs, self._gaps, self.round_file)
        return self._buffered_inputs[0]

    def _count_tokens_by_step(self) -> None:
        """Set `num_items_in_batch`, by which TRL divides the loss; TRL expects the round's count and scales it."""
        size = self.args.gradient_accumulation_steps
        for start in range(0, len(self._buffered_inputs), size):
            step = self._buffered_inputs[start : start + size]
            tokens = sum((part["completion_mask"] * part["tool_mask"]).sum() for part in step)
            for part in step:
                part["num_items_in_batch"] = tokens * self.args.steps_per_generation / size

    def _gaps_of(self, part):  # type: ignore[no-untyped-def]
        """|trainer − engine| of each unmasked token's log-prob, in nats. Engines report it at temperature 1. The fused
        head has a fixed temperature, so then the plain head is used, row by row because whole logits are large."""
        if self._newest_untempered is None and self.temperature != 1:
            self._log_probs_of(part, batch_size=1, head=self._plain_head)
        own = self._newest_logps if self._newest_untempered is None else self._newest_untempered
        live = (part["completion_mask"] * part["tool_mask"]).bool()
        return (own - part["sampling_per_token_logps"]).abs()[live].cpu()

    @property
    def logprob_gap(self) -> dict[str, float]:
        """Difference between the engine's and the trainer's log-probs over the unmasked tokens, in nats."""
        gaps = torch.cat(gather_object([self._gaps])).double().numpy()
        return {"logprob_gap_mean": float(gaps.mean()), "logprob_gap_p99": float(np.quantile(gaps, 0.99))}

    def _generate_and_score_completions(self, inputs):  # type: ignore[no-untyped-def]
        round_steps = self.args.steps_per_generation * self.num_iterations
        self._skip_old_logps = self.args.gradient_accumulation_steps % round_steps != 0
        if self.accelerator.num_processes == 1:
            return super()._generate_and_score_completions(inputs)
        # every process replays the whole round and takes its share of each slice after shuffling, so the steps have
        # the same rows for any number of processes
        replay = self.rollout_func
        everything = [{"prompt": prompt} for prompt in replay.prompt_order for _ in range(replay.group_size)]
        output = super()._generate_and_score_completions(everything)
        output["num_items_in_batch"] = (output["completion_mask"] * output["tool_mask"]).sum()
        return output

    def _log_probs_of(self, part, **how):  # type: ignore[no-untyped-def]
        input_ids = torch.cat([part["prompt_ids"], part["completion_ids"]], dim=1)
        attention_mask = torch.cat([part["prompt_mask"], part["completion_mask"]], dim=1)
        width = part["completion_ids"].shape[1]
        return self._get_per_token_logps_and_entropies(self.model, input_ids, attention_mask, width, **how)[0]

    def _get_per_token_logps_and_entropies(  # type: ignore[no-untyped-def]
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, head=None, **kwargs
    ):
        """TRL's method without its padding to the longest row of the round; the results are equal.

        Rows are sorted by length, so each pass of `batch_size` rows has little padding. Returns log-probs and entropies
        B × T, and the load-balancing loss of a mixture of experts (a mean over the passes) if TRL requests it.
        """
        if self._skip_old_logps:  # TRL's own pass at the start of a round
            self._skip_old_logps = False
            return torch.zeros(input_ids.shape[0], logits_to_keep, device=input_ids.device), None, None
        rows = input_ids.shape[0]
        size = batch_size or rows
        order = attention_mask.sum(1).argsort(stable=True)
        prompt_width = input_ids.shape[1] - logits_to_keep
        forward = head or (self._fused_head if self._takes_fused_head(input_ids) else self._plain_head)
        parts, aux_losses = [], []
        for start in range(0, rows, size):
            chosen = order[start : start + size]
            mask = attention_mask[chosen]
            left = int(mask[:, :prompt_width].argmax(1).min())
            keep = max(1, int(mask[:, prompt_width:].sum(1).max()))
            window = slice(left, prompt_width + keep)
            placed = self._at_positions(model, mask[:, window])
            *columns, aux_loss = forward(placed, input_ids[chosen][:, window], mask[:, window], keep, **kwargs)
            widen = (0, logits_to_keep - keep)
            parts.append([None if x is None else torch.nn.functional.pad(x, widen) for x in columns])
            aux_losses.append(aux_loss)
        back = order.argsort()
        logps, entropies, self._newest_untempered = (
            None if column[0] is None else torch.cat(column)[back] for column in zip(*parts, strict=True)
        )
        self._newest_logps = logps
        if self._loss_inputs is not None:
            self._cap_negative_ratios(self._loss_inputs, logps)
        aux_loss = None if aux_losses[0] is None else torch.stack(aux_losses).mean()
        return logps, entropies, aux_loss

    def _at_positions(self, model, mask_BT):  # type: ignore[no-untyped-def]
        """`model` with position ids that start at each row's first token. TRL passes none, so a model with learnt
        positions would count the padding on the left."""
        if "position_ids" not in inspect.signature(self._causal_lm(model).forward).parameters:
            return model
        return partial(model, position_ids=(mask_BT.cumsum(1) - 1).clamp(min=0))

    def _causal_lm(self, model):  # type: ignore[no-untyped-def]
        """The language model without the wrappers of processes and adapters."""
        unwrapped = self.accelerator.unwrap_model(model)
        return unwrapped.get_base_model() if isinstance(unwrapped, PeftModel) else unwrapped

    def _takes_fused_head(self, input_ids: torch.Tensor) -> bool:
        """TRL's fused head saves memory on a GPU, but doubles a step's time on a CPU."""
        return input_ids.is_cuda

    def _fused_head(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Log-probs, entropies, None (no log-probs at temperature 1), and the load-balancing loss."""
        logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        return logps, entropies, None, aux_loss

    def _plain_head(  # type: ignore[no-untyped-def]
        self, model, input_ids, attention_mask, logits_to_keep, compute_entropy=False, compute_aux_loss=False, **_
    ):
        """The same from whole logits; without gradients, also the log-probs at temperature 1."""
        routed = {"output_router_logits": True} if compute_aux_loss else {}
        with self.accelerator.autocast():
            output = model(
                input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=logits_to_keep + 1, **routed
            )
        tokens = input_ids[:, -logits_to_keep:]
        logits = output.logits[:, :-1].float()
        untempered = None if torch.is_grad_enabled() else selective_log_softmax(logits, tokens)
        logps = selective_log_softmax(logits.div_(self.temperature), tokens)
        entropies = None
        if compute_entropy:
            with torch.no_grad():
                entropies = entropy_from_logits(logits)
        return logps, entropies, untempered, output.aux_loss if compute_aux_loss else None

    def _compute_loss(self, model, inputs):  # type: ignore[no-untyped-def]
        old = inputs["old_per_token_logps"]
        self._loss_inputs = inputs = {**inputs}
        loss = super()._compute_loss(model, inputs)
        self._loss_inputs = None
        mask = inputs["completion_mask"] * inputs["tool_mask"]
        log_ratio = self._newest_logps.detach() - old
        self._add_ratios(log_ratio.double(), mask)
        return loss

    def _cap_negative_ratios(self, inputs: dict[str, torch.Tensor], logps: torch.Tensor) -> None:
        """Truncate the ratio where the advantage is negative, as in TOPR (arXiv 2503.14286): the gradient is that of
        the log-prob times the cap. TRL's `delta` would make the gradient 0, so such tokens could grow without limit."""
        if self.max_negative_ratio is None:
            return
        cap = math.log(self.max_negative_ratio)
        old, new = inputs["old_per_token_logps"], logps.detach()
        beyond = (inputs["advantages"] < 0).unsqueeze(1) & (new - old > cap)
        inputs["old_per_token_logps"] = torch.where(beyond, new - cap, old)

    def _add_ratios(self, log_ratio_BT: torch.Tensor, mask_BT: torch.Tensor) -> None:
        """Add to the step's sums: KL and number of unmasked tokens; Σw, Σw² and number of unmasked rollouts, where w is
        the likelihood ratio of a whole rollout."""
        kl_BT = (log_ratio_BT.exp() - 1 - log_ratio_BT) * mask_BT
        w_B = (log_ratio_BT * mask_BT).sum(1)[mask_BT.any(1)].clamp(max=300).exp()
        counts = torch.tensor([mask_BT.sum(), len(w_B)], dtype=torch.float64, device=w_B.device)
        sums = torch.stack([kl_BT.sum(), counts[0], w_B.sum(), (w_B**2).sum(), counts[1]])
        self._step_sums = sums if self._step_sums is None else self._step_sums + sums

    def end_step(self) -> float:
        """Log the step's mean KL to the start per unmasked token; log and return its effective share.

        The effective share is (Σw)²/Σw² divided by the number of rollouts: 1 if all ratios are equal or no rollout is
        unmasked, 0 if all ratios round to 0. Both are over the whole step, for any number of passes and processes.
        """
        assert self._step_sums is not None
        kl, tokens, total, squares, count = self.accelerator.reduce(self._step_sums).tolist()
        self._step_sums = None
        share = total**2 / (count * squares) if squares else float(not count)
        self._metrics["train"]["kl_to_start"].append(kl / max(tokens, 1))
        self._metrics["train"]["effective_share"].append(share)
        return float(share)


def save_round(parts: list[dict[str, torch.Tensor]], gaps: torch.Tensor, path: Path) -> None:
    """Store the slices of a round and its log-prob gaps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {f"{i}.{name}": value for i, part in enumerate(parts) for name, value in part.items()}
    temporary = path.with_suffix(".tmp")
    save_file({name: value.cpu().clone().contiguous() for name, value in {**named, "gaps": gaps}.items()}, temporary)
    temporary.replace(path)


def load_round(path: Path, device: Any) -> tuple[list[dict[str, torch.Tensor]], torch.Tensor]:
    """The slices and gaps that `save_round` stored."""
    stored = load_file(path)
    gaps = stored.pop("gaps")
    parts: dict[int, dict[str, torch.Tensor]] = defaultdict(dict)
    for key, value in stored.items():
        number, _, name = key.partition(".")
        parts[int(number)][name] = value.to(device)
    return [parts[number] for number in sorted(parts)], gaps


class EffectiveShare(TrainerCallback):
    """Ends the round when the effective share of a step is below the minimum. That step still counts."""

    trainer: ReplayTrainer

    def __init__(self, least: float | None) -> None:
        self.least = least
        self.stopped: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        share = self.trainer.end_step()
        if self.least is not None and share < self.least and state.global_step < state.max_steps:
            self.stopped = state.global_step
            control.should_training_stop = True
