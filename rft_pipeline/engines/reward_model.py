"""Reward models: sequence classifiers with one label for a whole conversation.

Axes: B conversations, L tokens.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification

from rft_pipeline.engines.base import Messages
from rft_pipeline.engines.chat_tokens import chat_tokens
from rft_pipeline.engines.settings import ProcessRuntime
from rft_pipeline.engines.weights import load_tokenizer, pick_device, pick_dtype
from rft_pipeline.errors import ModelError

NO_TOKEN = -1
"""The padding token of the classifier's config. Classifiers read the last token that is not padding. Rows are padded on
the left, so that is always the last one, even if the tokenizer pads with the token that ends a conversation."""


class RewardModelEngine:
    """A sequence classifier with a scalar head."""

    def __init__(self, folder: Path, runtime: ProcessRuntime) -> None:
        self.device = pick_device(runtime.device)
        self.batch_size = runtime.batch_size
        self.tokenizer = load_tokenizer(folder)
        try:
            dtype = getattr(torch, pick_dtype(runtime.dtype, self.device))
            model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder}: cannot be loaded as a sequence classifier: {error}") from error
        if model.config.num_labels != 1:
            raise ModelError(f"{folder}: has {model.config.num_labels} labels; a reward model has one")
        self.model = model.to(self.device).eval()
        self.model.config.get_text_config().pad_token_id = NO_TOKEN
        self.takes_positions = "position_ids" in inspect.signature(self.model.forward).parameters

    def close(self) -> None:
        """Nothing to free."""

    @torch.inference_mode()
    def reward(self, conversations: Sequence[Messages]) -> list[float]:
        rows = [chat_tokens(self.tokenizer, messages, reply_follows=False) for messages in conversations]
        rewards = [0.0] * len(rows)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            longest = max(len(rows[i]) for i in batch)
            pads = [longest - len(rows[i]) for i in batch]
            ids = [[self.tokenizer.pad_token_id] * pad + rows[i] for i, pad in zip(batch, pads, strict=True)]
            mask = [[0] * pad + [1] * (longest - pad) for pad in pads]
            ids_BL, mask_BL = torch.tensor(ids, device=self.device), torch.tensor(mask, device=self.device)
            inputs = {"position_ids": (mask_BL.cumsum(1) - 1).clamp(min=0)} if self.takes_positions else {}
            found_B = self.model(input_ids=ids_BL, attention_mask=mask_BL, **inputs).logits[:, 0].float()
            for i, reward in zip(batch, found_B.tolist(), strict=True):
                rewards[i] = reward
        return rewards
