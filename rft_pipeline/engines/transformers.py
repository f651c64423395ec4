"""The transformers engine: generation and scoring in this process, on CPU or one GPU.

Axes: B rows of a batch, P distinct prompts or prefixes in it, L prefix tokens, T continuation tokens, V vocabulary.
Both halves compute a shared prefix once, through the KV cache, and copy it to the rows that need it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import DynamicCache, LogitsProcessor, LogitsProcessorList
from transformers.generation.logits_process import (
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from rft_pipeline.campaign import EngineRuntime, Sampling
from rft_pipeline.engines.answers import AnswersItself
from rft_pipeline.engines.base import Completion, GenerateRequest, ScoreRequest, ScoreResult
from rft_pipeline.engines.weights import load_tokenizer, load_weights, pick_device
from rft_pipeline.errors import EngineError

_PROJECTED = 512
"""Positions projected onto the vocabulary at once."""

_CACHED = 16
"""Rows whose log-sum-exp is taken at once: as many as stay in a core's cache, four times faster than all together."""


class TransformersEngine(AnswersItself):
    """A causal language model that generates and scores."""

    def __init__(self, folder: Path, runtime: EngineRuntime) -> None:
        self.device = pick_device(runtime.device)
        self.batch_size = runtime.batch_size
        self.tokenizer = load_tokenizer(folder)
        self.model = load_weights(folder, runtime.dtype, self.device)
        self.context = int(self.model.config.max_position_embeddings)
        self.eos = self.tokenizer.eos_token_id
        self.pad = self.tokenizer.pad_token_id

    def close(self) -> None:
        """Let go of the weights; the engine answers nothing any more."""
        del self.model
        if self.device == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> Iterator[list[Completion]]:
        rows = [(tuple(self.chat_tokens(request.messages)), request) for request in requests]
        rows.sort(key=lambda row: (len(row[0]), row[0]))
        for start in range(0, len(rows), self.batch_size):
            yield self._generate_batch(rows[start : start + self.batch_size], sampling)

    def _generate_batch(
        self, rows: list[tuple[tuple[int, ...], GenerateRequest]], sampling: Sampling
    ) -> list[Completion]:
        prompts_B = [prompt for prompt, _ in rows]
        ids_BL, mask_BL, cache = self._prefill(prompts_B)
        draw = _SeededDraw([request.seed for _, request in rows], sampling, self.device)
        output_BX = self.model.generate(
            input_ids=ids_BL,
            attention_mask=mask_BL,
            past_key_values=cache,
            max_new_tokens=sampling.max_new_tokens,
            do_sample=False,
            pad_token_id=self.pad,
            eos_token_id=self.eos,
            logits_processor=LogitsProcessorList([draw]),
        )
        drawn_BT = output_BX[:, ids_BL.shape[1] :].tolist()
        logprobs_BT = draw.logprobs_BT()
        return [
            self._completion(request, prompt, tokens, logprobs)
            for (prompt, request), tokens, logprobs in zip(rows, drawn_BT, logprobs_BT, strict=True)
        ]

    def _completion(
        self, request: GenerateRequest, prompt: tuple[int, ...], tokens: list[int], logprobs: list[float]
    ) -> Completion:
        stopped = self.eos in tokens
        length = tokens.index(self.eos) + 1 if stopped else len(tokens)
        return Completion(
            request_id=request.request_id,
            prompt_tokens=list(prompt),
            tokens_T=tokens[:length],
            logprobs_T=logprobs[:length],
            text=self.tokenizer.decode(tokens[:length], skip_special_tokens=True),
            finish_reason="stop" if stopped else "length",
        )

    @torch.inference_mode()
    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        results: list[ScoreResult | None] = [None] * len(requests)
        order = sorted(range(len(requests)), key=lambda i: _by_length(requests[i]))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            for i, result in zip(batch, self._score_batch([requests[i] for i in batch]), strict=True):
                results[i] = result
        return [result for result in results if result is not None]

    def _score_batch(self, requests: list[ScoreRequest]) -> list[ScoreResult]:
        _, mask_BL, cache = self._prefill([request.prefix for request in requests])
        longest = max(len(request.continuation) for request in requests) + 1
        rows = [[request.prefix[-1], *request.continuation] for request in requests]
        ids_BT = torch.tensor([row + [self.pad] * (longest - len(row)) for row in rows], device=self.device)
        mask_BT = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=self.device)
        mask_BX = torch.cat([mask_BL[:, :-1], mask_BT], dim=1)
        positions_BT = (mask_BX.cumsum(1) - 1).clamp(min=0)[:, -longest:]
        hidden_BTH = self.model.model(
            input_ids=ids_BT, attention_mask=mask_BX, position_ids=positions_BT, past_key_values=cache
        ).last_hidden_state
        token_wants = [
            [(b, t, (token,)) for t, token in enumerate(request.continuation)] if request.want_tokens else []
            for b, request in enumerate(requests)
        ]
        end_wants = [(b, len(request.continuation), request.candidates) for b, request in enumerate(requests)]
        token_logprobs = iter(self._logprobs(hidden_BTH, [want for wants in token_wants for want in wants]))
        end_logprobs = self._logprobs(hidden_BTH, end_wants, exact=True)
        return [
            ScoreResult([next(token_logprobs)[0] for _ in wants], end)
            for wants, end in zip(token_wants, end_logprobs, strict=True)
        ]

    def _logprobs(
        self, hidden_BTH: torch.Tensor, wants: list[tuple[int, int, tuple[int, ...]]], exact: bool = False
    ) -> list[list[float]]:
        """Log-probs of given tokens at given (row, position) pairs.

        Only those positions are projected onto the vocabulary: the projection is a fifth of a forward pass.
        """
        result: list[list[float]] = []
        for start in range(0, len(wants), _PROJECTED):
            chunk = wants[start : start + _PROJECTED]
            if not any(tokens for _, _, tokens in chunk):
                result += [[] for _ in chunk]
                continue
            b_N, t_N = ([want[axis] for want in chunk] for axis in (0, 1))
            logits_NV = self._project(hidden_BTH[b_N, t_N], exact=exact)
            norm_N = _log_norm(logits_NV)
            places = [place for place, (_, _, tokens) in enumerate(chunk) for _ in tokens]
            wanted = [token for _, _, tokens in chunk for token in tokens]
            found = iter((logits_NV[places, wanted].float() - norm_N[places]).tolist())
            result += [[next(found) for _ in tokens] for _, _, tokens in chunk]
        return result

    def _project(self, hidden_NH: torch.Tensor, exact: bool) -> torch.Tensor:
        """Logits N × V. In bf16 a logit near 20 is rounded to 1/16 nat: noise in a mean over tokens, but a verdict
        that hangs on one position is projected in fp32 (`exact`)."""
        if not exact:
            return self.model.lm_head(hidden_NH)
        return torch.nn.functional.linear(hidden_NH.float(), self.model.lm_head.weight.float())

    def _prefill(self, prefixes_B: list[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor, DynamicCache]:
        """Left-padded tokens and mask (B × L) and the KV cache of all but the last token, computed once a prefix."""
        distinct_P = list(dict.fromkeys(prefixes_B))
        if not all(distinct_P):
            raise EngineError("a prefix needs at least one token")
        ids_PL = torch.full((len(distinct_P), max(map(len, distinct_P))), self.pad)
        mask_PL = torch.zeros_like(ids_PL)
        for p, prefix in enumerate(distinct_P):
            ids_PL[p, -len(prefix) :] = torch.tensor(prefix)
            mask_PL[p, -len(prefix) :] = 1
        ids_PL, mask_PL = ids_PL.to(self.device), mask_PL.to(self.device)
        cache = DynamicCache(config=self.model.config)
        if ids_PL.shape[1] > 1:
            self.model.model(
                input_ids=ids_PL[:, :-1],
                attention_mask=mask_PL[:, :-1],
                position_ids=(mask_PL.cumsum(1) - 1).clamp(min=0)[:, :-1],
                past_key_values=cache,
                use_cache=True,
            )
        place = {prefix: p for p, prefix in enumerate(distinct_P)}
        index_B = torch.tensor([place[prefix] for prefix in prefixes_B], device=self.device)
        cache.batch_select_indices(index_B)
        return ids_PL[index_B], mask_PL[index_B], cache


def _by_length(request: ScoreRequest) -> tuple[int, tuple[int, ...], int]:
    """Puts equal prefixes side by side, and within them equal lengths: shared work, little padding."""
    return len(request.prefix), request.prefix, len(request.continuation)


def _log_norm(logits_NV: torch.Tensor) -> torch.Tensor:
    """log Σ exp over the vocabulary, N values in fp32."""
    return torch.cat([rows.float().logsumexp(-1) for rows in logits_NV.split(_CACHED)])


class _SeededDraw(LogitsProcessor):
    """Draws each row with its own random stream (Gumbel-max), and remembers the log-prob of what was drawn.

    `generate` then only has to take the largest score, so a row's tokens do not depend on its batch's order.
    """

    def __init__(self, seeds_B: list[int], sampling: Sampling, device: str) -> None:
        self.temperature = sampling.temperature
        self.streams = [torch.Generator(device=device).manual_seed(seed) for seed in seeds_B]
        self.warpers = LogitsProcessorList()
        if sampling.temperature not in (0, 1):
            self.warpers.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k:
            self.warpers.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            self.warpers.append(TopPLogitsWarper(sampling.top_p))
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        noisy_BV = scores
        if self.temperature > 0:
            noise_BV = torch.stack(
                [torch.empty_like(scores[0]).exponential_(generator=stream) for stream in self.streams]
            )
            noisy_BV = self.warpers(input_ids, scores) - noise_BV.log()
        drawn_B1 = noisy_BV.argmax(-1, keepdim=True)
        self.steps.append(scores.gather(1, drawn_B1).squeeze(1) - _log_norm(scores))
        return noisy_BV

    def logprobs_BT(self) -> list[list[float]]:
        return torch.stack(self.steps, dim=1).tolist()
