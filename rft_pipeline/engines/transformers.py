"""The transformers engine: generation and scoring in this process, on CPU or one GPU.

Axes: B rows of a batch, P distinct prompts or prefixes in it, H tokens that all begin with, L prefix tokens, T
continuation tokens, V vocabulary.
Generation and scoring compute a shared prefix, and the tokens that all prefixes of a batch begin with, once and copy
the KV cache to the rows that need it. A model with a recurrent state instead (Mamba, LFM2) shares nothing: it scores
whole rows, and generates for prompts of one length at a time.
"""

import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache, GenerationConfig, LogitsProcessor, LogitsProcessorList
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from rft_pipeline.engines.answers import LocalAsker
from rft_pipeline.engines.base import Completion, GenerateRequest, ScoreRequest, ScoreResult, by_length
from rft_pipeline.engines.drawing import SeededDraw
from rft_pipeline.engines.end_tokens import end_tokens
from rft_pipeline.engines.grouped_attention import grouped_attention
from rft_pipeline.engines.own_head import Hidden
from rft_pipeline.engines.thoughts import Following
from rft_pipeline.engines.weights import (
    context_of,
    load_tokenizer,
    load_weights,
    pick_device,
    pick_dtype,
    replace_weights,
)
from rft_pipeline.errors import EngineError

if TYPE_CHECKING:
    from rft_pipeline.engines.settings import ProcessRuntime, Sampling

_PROJECTED = 512
"""Positions that are projected onto the vocabulary at once."""

_RUNNING = 0.75
"""Rows that have ended leave the batch when at most this share of it goes on: each time the KV cache is copied."""

_SHARED = 8
"""Tokens that all prefixes of a batch begin with are computed once if they are so many."""

_CACHED = 16
"""Rows per log-sum-exp: they fit into a core's cache, which is four times faster than all rows at once."""


class TransformersEngine(LocalAsker):
    """A causal language model that generates and scores."""

    def __init__(self, folder: Path, runtime: "ProcessRuntime") -> None:
        self.device = pick_device(runtime.device)
        self.batch_size = runtime.batch_size
        self.tokenizer = load_tokenizer(folder)
        self.model = load_weights(folder, pick_dtype(runtime.dtype, self.device), self.device)
        self.context = context_of(self.model.config.to_dict()) or sys.maxsize
        self.ends = end_tokens(folder, self.tokenizer)
        self.pad = self.tokenizer.pad_token_id
        self.model.generation_config = GenerationConfig()  # the folder's own may contain a repetition penalty
        takes = inspect.signature(self.model.forward).parameters
        self.takes_positions = "position_ids" in takes
        self.shares_prefixes = "past_key_values" in takes and _keeps_keys_and_values(self.model)
        self.shares_beginnings = self.shares_prefixes and self.takes_positions and _attends_by_position(self.model)

    def take_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Give the model new weights: these very tensors where it can (`replace_weights`). Raises `ModelError`."""
        replace_weights(self.model, weights)

    def close(self) -> None:
        """Free the weights. The engine cannot be used afterwards."""
        del self.model
        if self.device == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def generate(self, requests: Sequence[GenerateRequest], sampling: "Sampling") -> Iterator[list[Completion]]:
        rows = [(tuple(self.prompt_tokens(request)), request) for request in requests]
        rows.sort(key=lambda row: (len(row[0]), row[0]))
        alike = groupby(rows, lambda row: 0 if self.shares_prefixes else len(row[0]))
        for group in (list(group) for _, group in alike):
            for start in range(0, len(group), self.batch_size):
                yield self._generate_batch(group[start : start + self.batch_size], sampling)

    def _generate_batch(
        self, rows: list[tuple[tuple[int, ...], GenerateRequest]], sampling: "Sampling"
    ) -> list[Completion]:
        prompts_B = [prompt for prompt, _ in rows]
        draw = SeededDraw([request.seed for _, request in rows], sampling, self.device)
        replies_B = [self.following(request, prompt, sampling) for prompt, request in rows]
        logprobs_BT = self._decode(prompts_B, draw, replies_B)
        return [
            self.completion(request, prompt, reply, logprobs)
            for (prompt, request), reply, logprobs in zip(rows, replies_B, logprobs_BT, strict=True)
        ]

    def _decode(
        self, prompts_B: list[tuple[int, ...]], draw: SeededDraw, replies_B: list[Following]
    ) -> list[list[float]]:
        """Sample all replies to their end; returns the log-probs of their tokens in nats, and perhaps of tokens after
        the end. Ended rows leave the batch when they are a quarter of it."""
        ids_BL, mask_BX, cache = self._prefill(prompts_B)
        if cache is None:
            return self._decode_recurrent(ids_BL, mask_BX, draw, replies_B)
        logprobs_BT: list[list[float]] = [[] for _ in prompts_B]
        live = running = list(range(len(prompts_B)))
        ids_B1 = ids_BL[:, -1:]
        with grouped_attention():
            while True:
                output = self.model(**self._inputs(ids_B1, mask_BX), past_key_values=cache, use_cache=True)
                token_B, logprob_B = draw(output.logits[:, -1])
                for b, token, logprob in zip(live, token_B.tolist(), logprob_B.tolist(), strict=True):
                    logprobs_BT[b].append(logprob)
                    replies_B[b].add(token)
                running = [b for b in running if not replies_B[b].done]
                if not running:
                    return logprobs_BT
                if len(running) <= _RUNNING * len(live):
                    rows = torch.tensor([live.index(b) for b in running], device=self.device)
                    cache.batch_select_indices(rows)
                    draw.keep(rows)
                    live, token_B, mask_BX = running, token_B[rows], mask_BX[rows]
                ids_B1 = token_B[:, None]
                mask_BX = torch.cat([mask_BX, torch.ones_like(ids_B1)], dim=1)

    def _decode_recurrent(
        self, ids_BL: torch.Tensor, mask_BL: torch.Tensor, draw: SeededDraw, replies_B: list[Following]
    ) -> list[list[float]]:
        """The same by transformers' own loop, which knows how each architecture keeps its state."""
        noted = _Noted(draw)
        self.model.generate(
            input_ids=ids_BL,
            attention_mask=mask_BL,
            max_new_tokens=draw.sampling.budget,
            do_sample=False,
            pad_token_id=self.pad,
            eos_token_id=list(self.ends),
            logits_processor=LogitsProcessorList([noted]),
        )
        for reply, tokens in zip(replies_B, zip(*noted.token_TB, strict=True), strict=True):
            reply.add(*tokens)
        return [list(logprobs) for logprobs in zip(*noted.logprob_TB, strict=True)]

    @torch.inference_mode()
    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        results: list[ScoreResult | None] = [None] * len(requests)
        order = sorted(range(len(requests)), key=lambda i: by_length(requests[i]))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            for i, result in zip(batch, self._score_batch([requests[i] for i in batch]), strict=True):
                results[i] = result
        return [result for result in results if result is not None]

    def _score_batch(self, requests: list[ScoreRequest]) -> list[ScoreResult]:
        hidden, before_B = self._read(requests)
        token_wants = [
            [(b, before + t, (token,)) for t, token in enumerate(request.continuation)] if request.want_tokens else []
            for b, (before, request) in enumerate(zip(before_B, requests, strict=True))
        ]
        end_wants = [
            (b, before + len(request.continuation), request.candidates)
            for b, (before, request) in enumerate(zip(before_B, requests, strict=True))
        ]
        token_logprobs = iter(_logprobs(hidden, [want for wants in token_wants for want in wants]))
        end_logprobs = _logprobs(hidden, end_wants, exact=True)
        return [
            ScoreResult([next(token_logprobs)[0] for _ in wants], end)
            for wants, end in zip(token_wants, end_logprobs, strict=True)
        ]

    def _read(self, requests: list[ScoreRequest]) -> tuple[Hidden, list[int]]:
        """One pass over all rows, and per row the position whose logits predict the continuation's first token."""
        if not self.shares_prefixes:
            ids_BT, mask_BT = self._padded([(*request.prefix, *request.continuation) for request in requests])
            hidden = Hidden(self.model, **self._inputs(ids_BT, mask_BT), use_cache=False)
            return hidden, [len(request.prefix) - 1 for request in requests]
        _, mask_BL, cache = self._prefill([request.prefix for request in requests])
        ids_BT, mask_BT = self._padded([(request.prefix[-1], *request.continuation) for request in requests])
        mask_BX = torch.cat([mask_BL[:, :-1], mask_BT], dim=1)
        return Hidden(self.model, **self._inputs(ids_BT, mask_BX), past_key_values=cache), [0] * len(requests)

    def _inputs(self, ids_BT: torch.Tensor, mask_BX: torch.Tensor) -> dict[str, torch.Tensor]:
        """The inputs of the model's `forward` for the last T of X positions."""
        inputs = {"input_ids": ids_BT, "attention_mask": mask_BX}
        if self.takes_positions:
            inputs["position_ids"] = (mask_BX.cumsum(1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :]
        return inputs

    def _padded(self, rows_B: Sequence[Sequence[int]], left: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and mask, each B × the longest row."""
        if not all(rows_B):
            raise EngineError("a prefix needs at least one token")
        longest = max(map(len, rows_B))
        pads_B = [longest - len(row) for row in rows_B]
        sides = [(pad, 0) if left else (0, pad) for pad in pads_B]
        ids = [[self.pad] * a + [*row] + [self.pad] * z for row, (a, z) in zip(rows_B, sides, strict=True)]
        mask = [[0] * a + [1] * len(row) + [0] * z for row, (a, z) in zip(rows_B, sides, strict=True)]
        return torch.tensor(ids, device=self.device), torch.tensor(mask, device=self.device)

    def _prefill(self, prefixes_B: list[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor, DynamicCache | None]:
        """The last tokens, left-padded, with the mask of all (B × L), and the KV cache of all but the last token.

        Each distinct prefix is computed once, and so are the tokens that all begin with.
        """
        distinct_P = list(dict.fromkeys(prefixes_B))
        place = {prefix: p for p, prefix in enumerate(distinct_P)}
        index_B = torch.tensor([place[prefix] for prefix in prefixes_B], device=self.device)
        beginning = self._beginning(distinct_P)
        ids_PL, mask_PL = self._padded([prefix[len(beginning) :] for prefix in distinct_P], left=True)
        if not self.shares_prefixes:
            return ids_PL[index_B], mask_PL[index_B], None
        cache = DynamicCache(config=self.model.config)
        if beginning:
            ids_1H, mask_1H = self._padded([beginning])
            Hidden(self.model, **self._inputs(ids_1H, mask_1H), past_key_values=cache, use_cache=True)
            cache.batch_select_indices(torch.zeros(len(distinct_P), dtype=torch.long, device=self.device))
            mask_PL = torch.cat([mask_1H.expand(len(distinct_P), -1), mask_PL], dim=1)
        if ids_PL.shape[1] > 1:
            inputs = self._inputs(ids_PL[:, :-1], mask_PL[:, :-1])
            Hidden(self.model, **inputs, past_key_values=cache, use_cache=True)
        cache.batch_select_indices(index_B)
        return ids_PL[index_B], mask_PL[index_B], cache

    def _beginning(self, distinct_P: list[tuple[int, ...]]) -> tuple[int, ...]:
        """The tokens that all prefixes begin with; none where sharing them is not worth a pass of its own."""
        if not self.shares_beginnings or len(distinct_P) == 1:
            return ()
        columns = zip(*(prefix[:-1] for prefix in distinct_P), strict=False)
        shared = tuple(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))
        return shared if len(shared) >= _SHARED else ()


def _keeps_keys_and_values(model: Any) -> bool:
    """Whether every layer's cache has one entry per token, which can be copied between rows."""
    kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
    return model._supports_default_dynamic_cache() and kinds <= {DynamicLayer, DynamicSlidingWindowLayer}


def _attends_by_position(model: Any) -> bool:
    """Whether attention goes by position ids alone, so that there may be padding between two tokens.

    A window, in contrast, is counted over the cache, padding included.
    """
    layers = DynamicCache(config=model.config).layers
    return all(type(layer) is DynamicLayer for layer in layers) and not hasattr(model.config, "window_size")


def _logprobs(hidden: Hidden, wants: list[tuple[int, int, tuple[int, ...]]], exact: bool = False) -> list[list[float]]:
    """Log-probs of given tokens at given (row, position) pairs.

    Only those positions are projected onto the vocabulary: the projection is a fifth of a forward pass.
    """
    result: list[list[float]] = []
    for start in range(0, len(wants), _PROJECTED):
        chunk = wants[start : start + _PROJECTED]
        if not any(tokens for _, _, tokens in chunk):
            result += [[] for _ in chunk]
            continue
        logits_NV = hidden.logits([b for b, _, _ in chunk], [t for _, t, _ in chunk], exact=exact)
        norm_N = _log_norm(logits_NV)
        places = [place for place, (_, _, tokens) in enumerate(chunk) for _ in tokens]
        wanted = [token for _, _, tokens in chunk for token in tokens]
        found = iter((logits_NV[places, wanted].float() - norm_N[places]).tolist())
        result += [[next(found) for _ in tokens] for _, _, tokens in chunk]
    return result


def _log_norm(logits_NV: torch.Tensor) -> torch.Tensor:
    """log Σ exp over the vocabulary, N values in fp32."""
    return torch.cat([rows.float().logsumexp(-1) for rows in logits_NV.split(_CACHED)])


class _Noted(LogitsProcessor):
    """Makes transformers' own loop take the tokens that `draw` draws, and notes them with their log-probs."""

    def __init__(self, draw: SeededDraw) -> None:
        self.draw = draw
        self.token_TB: list[list[int]] = []
        self.logprob_TB: list[list[float]] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        token_B, logprob_B = self.draw(scores)
        self.token_TB.append(token_B.tolist())
        self.logprob_TB.append(logprob_B.tolist())
        return torch.zeros_like(scores).scatter_(1, token_B[:, None], 1)
