"""Tokenizers of the common families, small enough to be made in a test, and chat templates of common models."""

from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = (
    "<unk>",
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
)
_SENTENCES = (
    "Hello warm world, yes no Yes No: a system, a user and an assistant; [INST] model [/INST]",
    "I am well </s> thanks, said the user <|im_end|> and went <end_of_turn>\n\n<<SYS>>\n<</SYS>>",
)
FAMILIES = (
    "byte level",
    "byte level with a space",
    "metaspace always",
    "metaspace first",
    "llama 2",
    "gemma",
    "unigram",
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set rest = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}"
    "{% if loop.first and system %}{% set text = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + m['content'] %}"
    "{% else %}{% set text = m['content'] %}{% endif %}"
    "{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + text.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if m['role'] == 'user' %}[INST] {{ system if loop.last }}{{ m['content'] }}[/INST]"
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
"""Shows the system turn in front of the last user turn."""
TEMPLATES = {"ChatML": CHATML, "Llama 2": LLAMA_2, "Llama 3": LLAMA_3, "Gemma": GEMMA, "Mistral": MISTRAL}


def make_tokenizer(family: str, template: str = CHATML) -> Any:
    """A tokenizer that ends turns with `</s>`; of "llama 2" it begins texts with `<s>`."""
    tokenizer = Tokenizer(models.Unigram() if family == "unigram" else models.BPE())
    byte_level = family.startswith("byte level")
    if byte_level:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=family.endswith("space"))
        tokenizer.decoder = decoders.ByteLevel()
    elif family in ("gemma", "llama 2"):
        spaces = normalizers.Replace(" ", "▁")
        tokenizer.normalizer = spaces if family == "gemma" else normalizers.Sequence([normalizers.Prepend("▁"), spaces])
    else:
        scheme = "first" if family == "metaspace first" else "always"
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=family == "unigram")
    alphabet = pre_tokenizers.ByteLevel.alphabet() if byte_level else []
    how: dict[str, Any] = {"special_tokens": list(SPECIAL), "show_progress": False, "initial_alphabet": alphabet}
    tokenizer.train_from_iterator(
        _SENTENCES * 20,
        trainers.UnigramTrainer(vocab_size=130, unk_token="<unk>", **how)
        if family == "unigram"
        else trainers.BpeTrainer(vocab_size=400, **how),
    )
    if family == "llama 2":
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )
    made.chat_template = template
    return made
