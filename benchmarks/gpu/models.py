"""Random Llamas with a tokenizer, as the engine and the trainer load them."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from benchmarks.gpu.shapes import Shape

SPREAD = 2.5
"""Standard deviation of the logits, about that of a trained model: a flat distribution would hide errors."""
_TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
_END, _PAD = "<|end|>", "<|pad|>"


def write_model(shape: Shape, folder: Path, device: str) -> Path:
    """Write a model with random weights, which bf16 holds exactly, and its tokenizer into `folder` and return it."""
    logging.disable_progress_bar()
    torch.manual_seed(0)
    with torch.device(device):
        model = LlamaForCausalLM(config_of(shape))
    with torch.no_grad():
        embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        embedding.mul_(0.2)  # else a tied head predicts each token's own repetition
        model.model.norm.weight.fill_(SPREAD / (float(head.std()) * shape.hidden**0.5))
    model.to(torch.bfloat16).save_pretrained(folder)
    _tokenizer(shape).save_pretrained(folder)
    return folder


def config_of(shape: Shape) -> LlamaConfig:
    """The configuration of a shape, for transformers."""
    return LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=4096,
        initializer_range=0.6 / shape.hidden**0.5,
        tie_word_embeddings=shape.tied,
        bos_token_id=None,
        eos_token_id=shape.vocab - 2,
        pad_token_id=shape.vocab - 1,
    )


def _tokenizer(shape: Shape) -> Any:
    """A token for each word `w0`, `w1`, …; the last two tokens end a reply and pad a row."""
    words = {f"w{number}": number for number in range(shape.vocab - 2)}
    by_word = Tokenizer(models.WordLevel({**words, _END: shape.vocab - 2, _PAD: shape.vocab - 1}, unk_token="w0"))
    by_word.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=by_word, eos_token=_END, pad_token=_PAD, unk_token=None, chat_template=_TEMPLATE
    )


def texts(shape: Shape, count: int, tokens: int) -> list[str]:
    """`count` prompts of so many tokens."""
    draw = torch.Generator().manual_seed(1)
    drawn = torch.randint(shape.vocab - 2, (count, tokens), generator=draw).tolist()
    return [" ".join(f"w{number}" for number in row) for row in drawn]
