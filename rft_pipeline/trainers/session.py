"""A training session: a policy that is trained generation by generation, with its optimiser and its saved states."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from safetensors.torch import save_file

from rft_pipeline.engines.weights import pick_device, pick_dtype
from rft_pipeline.errors import EngineError
from rft_pipeline.models.merging import merged_weights
from rft_pipeline.trainers.kept import (
    DONE,
    check_room,
    earlier_steps,
    forget_later_steps,
    last_state,
    prepare,
    steps_of,
)
from rft_pipeline.trainers.learner import Generation, Learner
from rft_pipeline.trainers.loading import load_policy, rounding_seed, write_checkpoint
from rft_pipeline.trainers.reference import reference_of
from rft_pipeline.trainers.rows import Trained, TrainingRow, plan_steps
from rft_pipeline.trainers.states import is_sharded, load_log_probs, load_state, save_state

if TYPE_CHECKING:
    from rft_pipeline.trainers.base import TrainJob
    from rft_pipeline.trainers.settings import Training


class Session:
    """Trains a policy with grpo or raft, one generation after the other.

    A new session continues from the newest state in `kept`, if the work was divided in the same way, and first reports
    the steps before that state to `log_step`. On a CPU it then ends with the same weights to the last bit.
    """

    def __init__(self, job: "TrainJob", steps: int | None = None) -> None:
        """Load the policy; of the job, all is used but the batch, as `train` gets rows. `steps` is the number of steps
        to take, where it is known.

        Raises `StoreError` if the disk has no room for the checkpoint and the states."""
        self.job, self.training, self.kept = job, job.training, job.kept
        training, kept = job.training, job.kept
        self.accelerator = accelerator = _accelerator(training)
        if accelerator.is_main_process:
            prepare(kept, training)
        accelerator.wait_for_everyone()
        model = load_policy(job, str(accelerator.device))
        dtype = getattr(torch, pick_dtype(training.runtime.dtype, accelerator.device.type))
        longest = training.longest(job.sampling)
        seed = rounding_seed(job)
        self.learner = Learner(model, accelerator, training, job.sampling.temperature, longest, dtype, seed)
        self.reference = reference_of(self.learner, job.base)
        state = last_state(kept)
        check_room(model, training, kept, steps)
        self.steps_done = steps_of(state)
        self.generations_done = 0
        self.last: dict[str, float] = {}
        self._saved_at = self.steps_done
        self._begun: int | None = None
        """The number of the generation that the state is in the middle of."""
        self._steps_of_begun = 0
        if state is not None:
            counters = load_state(state, self.learner)
            self.generations_done = counters["generations_done"]
            self._begun, self._steps_of_begun = counters["generation"], counters["steps_of_generation"]
        self._report_earlier_steps()

    def train(self, rows: Sequence[TrainingRow], generation: int) -> Trained:
        """Take the optimiser steps of one generation: `epochs` passes over its rows, in steps of `batch_size` rows in
        the order given. There are none if no row is live.

        `generation` is its number. States are saved within it every `runtime.save_steps` steps.
        """
        training, imitates = self.training, self.learner.imitates
        plan = plan_steps(rows, training.batch_size, training.epochs)
        of_epoch = plan[: len(plan) // training.epochs]
        data = Generation(rows)
        first = done = self._continue(data, generation)
        if not first and not imitates:
            self._look_ahead(data, of_epoch)
        stopped: int | None = None
        metrics: dict[str, float] = {}
        for step in plan[first:]:
            metrics = self.learner.step(data, step, len(of_epoch), self._rate())
            done += 1
            self._report(metrics)
            if done == len(plan):
                break
            least = training.min_effective_share
            if not imitates and least is not None and metrics["effective_share"] < least:
                stopped = self.steps_done
                break
            if self.steps_done % training.runtime.save_steps == 0:
                self._save(data, generation, done)
        self.generations_done += 1
        extra = {} if stopped is None else {"stopped_at_step": float(stopped)}
        torch.cuda.empty_cache()  # an engine on the same GPU needs it next
        old = [data.start[i].tolist() if i in data.start else [] for i in range(len(rows))]
        return Trained({**metrics, **_gap(data), **extra}, done, old)

    def effective_share(self, rows: Sequence[TrainingRow]) -> float:
        """(Σw)²/Σw²/N of the live rows that carry `old_logprobs`, under the policy as it is; w is the likelihood ratio
        of a rollout to the policy that sampled it. 1 without such rows."""
        return self.learner.effective_share(rows)

    def log_probs(self, rows: Sequence[TrainingRow]) -> list[list[float]]:
        """Log-probs of the rows' tokens at the sampling temperature under the policy as it is, in nats."""
        found = self.learner.log_probs(rows, range(len(rows)))
        return [found[i][0].tolist() for i in range(len(rows))]

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The policy as it is, one tensor after the other, named as in the `state_dict` of the plain causal language
        model. A LoRA adapter is added to its base weights; the trained model is not changed."""
        model = self.accelerator.unwrap_model(self.learner.model)
        if not is_sharded(self.accelerator):
            yield from merged_weights(model) if hasattr(model, "peft_config") else model.state_dict().items()
        elif hasattr(model, "peft_config"):
            raise EngineError(
                "a LoRA policy that is sharded (FSDP) cannot be handed over between generations; set "
                "training.steps_per_generation: null, or remove training.runtime.accelerate_config"
            )
        else:
            yield from self.accelerator.get_state_dict(self.learner.model).items()

    def write_weights(self, path: Path) -> None:
        """Write `weights` as safetensors; all processes call it, one writes."""
        if not (self.accelerator.is_main_process or is_sharded(self.accelerator)):
            return
        found: dict[str, torch.Tensor] = {}
        places: set[int] = set()
        for name, weight in self.weights():
            tied = weight.data_ptr() in places  # a file cannot share storage
            found[name] = weight.detach().clone() if tied else weight.detach().contiguous()
            places.add(weight.data_ptr())
        if self.accelerator.is_main_process:
            save_file(found, path)

    def save(self) -> None:
        """Save a state at the end of a generation, if `runtime.save_steps` steps were taken since the last."""
        if self.steps_done - self._saved_at >= self.training.runtime.save_steps:
            self._save(None, None, 0)

    def close(self) -> None:
        """Nothing to end: the policy is in this process."""

    def finish(self, scratch: Path) -> dict[str, float]:
        """Write the checkpoint to `scratch / "checkpoint"`; the metrics of the last step."""
        model = self.accelerator.unwrap_model(self.learner.model)
        sharded = is_sharded(self.accelerator)
        weights = self.accelerator.get_state_dict(self.learner.model) if sharded else None
        if self.accelerator.is_main_process:
            write_checkpoint(model, self.job, scratch, weights)
        self.accelerator.wait_for_everyone()
        return self.last

    def _look_ahead(self, data: Generation, of_epoch: list[list[int]]) -> None:
        """Compute what must be known before the first update, in the passes of the steps: in bf16, the last digits of a
        row depend on the rows in its pass. The log-probs of the first step's rows are found in the step itself."""
        for step in of_epoch[1:]:
            data.learn_start(self.learner.log_probs(data.rows, step))
        if not of_epoch:
            data.learn_start(self.learner.log_probs(data.rows, range(len(data.rows))))
        elif self.reference is not None:
            for step in of_epoch:
                found = self.learner.log_probs(data.rows, step, self.reference)
                data.reference |= {i: tempered for i, (tempered, _) in found.items()}

    def _continue(self, data: Generation, generation: int) -> int:
        """The number of steps of this generation that the loaded state holds; its log-probs are loaded too."""
        if self._begun is None:
            return 0
        if self._begun != generation:
            raise EngineError(f"{self.kept}: the state is in generation {self._begun}, not in {generation}")
        load_log_probs(self.kept / f"checkpoint-{self.steps_done}", data)
        self._begun = None
        return self._steps_of_begun

    def _rate(self) -> float:
        """The learning rate of the next step: it rises linearly from 0 in the first `warmup_steps` steps."""
        warmup = self.training.warmup_steps
        return self.training.learning_rate * (self.steps_done / warmup if self.steps_done < warmup else 1.0)

    def _report(self, metrics: dict[str, float]) -> None:
        self.steps_done += 1
        self.last = metrics
        if self.accelerator.is_main_process:
            # raises if the parent process has ended, so that nothing more is written
            self.job.log_step(self.steps_done, metrics)
            with (self.kept / DONE).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": self.steps_done, **metrics}) + "\n")

    def _report_earlier_steps(self) -> None:
        """Report the steps before the state, and forget those after it."""
        earlier = earlier_steps(self.kept, self.steps_done)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            forget_later_steps(self.kept, self.steps_done)
        for number, metrics in earlier:
            self.last = metrics
            if self.accelerator.is_main_process:
                self.job.log_step(number, metrics)

    def _save(self, data: Generation | None, generation: int | None, steps_of_generation: int) -> None:
        counters = {
            "generations_done": self.generations_done,
            "generation": generation,
            "steps_of_generation": steps_of_generation,
        }
        save_state(self.kept / f"checkpoint-{self.steps_done}", self.learner, counters, data)
        self._saved_at = self.steps_done


def train_at_once(job: "TrainJob", rows: Sequence[TrainingRow]) -> Trained:
    """Train on all rows of a job as one generation and write the checkpoint."""
    session = Session(job, len(plan_steps(rows, job.training.batch_size, job.training.epochs)))
    trained = session.train(rows, 0)
    session.finish(job.scratch)
    return trained


def _accelerator(training: "Training") -> Accelerator:
    """Accelerate's state is shared by a whole process, so that of an earlier training is forgotten."""
    AcceleratorState._reset_state(reset_partial_state=training.runtime.processes == 1)
    parallel = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
    accelerator = Accelerator(
        cpu=pick_device(training.runtime.device) == "cpu", mixed_precision="no", kwargs_handlers=[parallel]
    )
    if accelerator.distributed_type == "DEEPSPEED":
        raise EngineError("training.runtime.accelerate_config: grpo, raft and sft cannot use DeepSpeed; use FSDP")
    return accelerator


def _gap(data: Generation) -> dict[str, float]:
    """Difference between the engine's and the trainer's log-probs over live tokens, in nats."""
    if not data.gaps:
        return {}
    gaps = torch.cat(list(data.gaps.values())).double()
    return {"logprob_gap_mean": float(gaps.mean()), "logprob_gap_p99": float(gaps.quantile(0.99))}
