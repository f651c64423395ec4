"""The tiny random model: a Llama of two layers with a tokenizer trained on six sentences."""

import os
from pathlib import Path
from typing import Any

SENTENCES = (
    "Yes, we are very sorry about the late parcel and we will help you today.",
    "No, the lamp is not good and the chair is bad.",
    "Please send your order number and the desk will be repaired.",
    "Thank you for the kind words, the table looks good and the price is not bad.",
    "The tone of this message is warm, not cold, and the answer is good.",
    "You are a polite and helpful support agent. You are a rude and cold person.",
)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

THINKING = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{{ message['content'].split('</think>')[-1].lstrip('\n') }}"
    "{% else %}{{ message['content'] }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '\n</think>\n\n' }}{% endif %}{% endif %}"
)
"""As the chat template of Qwen 3: it opens the thought, or closes an empty one, and shows no earlier thoughts."""

MODEL_SEED = int(os.environ.get("RFT_TEST_MODEL_SEED", "0"))
"""Seed of the tiny model's random weights. No test may depend on it: with another seed the model samples other replies,
as it does on another CPU, whose kernels round differently."""


def write_tiny_model(folder: Path, hidden_size: int = 64) -> Path:
    """Write the tiny model into `folder` and return it; it has four heads, whatever its width."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = write_tiny_tokenizer(folder)
    torch.manual_seed(MODEL_SEED)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.1,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_thinking_model(folder: Path) -> Path:
    """Write a tiny model that thinks into `folder` and return it: after any token it closes its thought, or ends its
    turn, with a probability of about a fifth each."""
    import torch
    from transformers import AutoModelForCausalLM

    write_tiny_model(folder)
    tokenizer = write_tiny_tokenizer(folder, THINKING, ("<think>", "</think>"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, tie_word_embeddings=False)
    model.resize_token_embeddings(len(tokenizer))
    with torch.no_grad():
        inward, outward = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        outward.copy_(inward)
        inward[:, 0], outward[:, 0] = 40.0, 0.0  # √64 after the last norm, whatever the layers add
        for name in ("</think>", "<|im_end|>"):
            outward[tokenizer.convert_tokens_to_ids(name), 0] = 5.5 / 8  # exp(5.5) is half of 500 tokens
    model.save_pretrained(folder)
    return folder


def write_tiny_tokenizer(folder: Path, template: str = CHATML, added: tuple[str, ...] = ()) -> Any:
    """Write the tiny model's tokenizer into `folder` and return it: 500 tokens, `<|im_end|>` (2) ends a turn."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", extra_special_tokens=["<|im_start|>"]
    )
    tokenizer.add_tokens(list(added))
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return tokenizer
