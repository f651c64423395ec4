"""Where a thought ends and an answer begins, for tags of one token and of many, and how far each may run."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from rft_pipeline.engines.base import GenerateRequest
from rft_pipeline.engines.chat_tokens import chat_tokens, empty_thought
from rft_pipeline.engines.settings import EngineRuntime, Sampling, Thinking
from rft_pipeline.engines.thoughts import Following, Reply, divided
from rft_pipeline.engines.transformers import TransformersEngine

ENDS = (2,)
"""`<|im_end|>` of the tiny tokenizers."""
ASKED = (("user", "Where is my lamp?"),)


def read(
    folder: Path, reply: str, thinking: Thinking | None = "strip", most: int | None = None, new: int = 100
) -> Reply:
    """A reply after the model's own generation prompt; `<|im_end|>` in it ends the turn."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer.encode(reply, add_special_tokens=False)
    prompt = chat_tokens(tokenizer, ASKED, thinking=None)
    sampling = Sampling(max_new_tokens=new, max_thinking_tokens=most)
    sampled = Following(tokenizer, prompt, ENDS, sampling, thinking)
    sampled.add(*tokens)
    return sampled.reply()


@pytest.mark.parametrize("tags", [("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<seed:think>", "</seed:think>")])
def test_tags_of_many_tokens_are_found_at_the_start_of_a_reply(tiny_model: Path, tags: tuple[str, str]) -> None:
    found = read(tiny_model, f"{tags[0]}\nIs it late?\n{tags[1]}\n\nYes, we are sorry.<|im_end|>Thank you")
    assert (found.thought, found.text, found.finish_reason) == ("Is it late?", "Yes, we are sorry.", "stop")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert tokenizer.decode(found.tokens[: found.thought_tokens]).startswith(f"{tags[0]}\nIs it late?\n{tags[1]}")
    assert found.tokens[-1] == 2


def test_a_prompt_that_opens_the_thought_leaves_out_its_tag(thinking_model: Path) -> None:
    found = read(thinking_model, "Is it late?\n</think>\n\nYes, </think> and no.<|im_end|>")
    assert (found.thought, found.text) == ("Is it late?", "Yes, </think> and no.")
    kept = read(thinking_model, "Is it late?\n</think>\n\nYes.<|im_end|>", "keep")
    assert (kept.thought, kept.text) == ("Is it late?", "<think>Is it late?\n</think>\n\nYes.")
    assert kept.thought_tokens == found.thought_tokens


@pytest.mark.parametrize("reply", ["No, <think> is a tag.</think>", "<b> No.", "", "  No.", "<"])
def test_a_reply_without_a_thought_is_all_answer(tiny_model: Path, reply: str) -> None:
    found = read(tiny_model, f"{reply}<|im_end|>")
    assert found[1:] == (reply, "", 0, "stop")


@pytest.mark.parametrize("thinking", ["auto", "strip", "off"])
def test_a_thought_that_is_never_closed_is_cut_off_and_has_no_answer(
    tiny_model: Path, thinking_model: Path, thinking: Thinking
) -> None:
    for folder, reply in ((tiny_model, "<think>Is it late? Yes.<|im_end|>"), (thinking_model, "Is it late? Yes.")):
        found = read(folder, reply, thinking)
        assert found[1:] == ("", "Is it late? Yes.", len(found.tokens), "length")


def test_thought_and_answer_have_budgets_of_their_own(thinking_model: Path) -> None:
    reply = "late late late</think>good good good good good"
    whole = read(thinking_model, reply)
    assert read(thinking_model, reply, most=whole.thought_tokens - 1)[1:] == (
        "",
        "late late late",
        whole.thought_tokens - 1,
        "length",
    )
    cut = read(thinking_model, reply, most=whole.thought_tokens, new=2)
    assert (len(cut.tokens), cut.thought_tokens) == (whole.thought_tokens + 2, whole.thought_tokens)
    assert whole.text.startswith(cut.text)
    assert cut.finish_reason == "length"
    assert len(read(thinking_model, reply, new=3).tokens) == 3  # without a budget of its own it shares the answer's


def test_the_engine_stops_each_row_where_its_budgets_end(thinking_model: Path) -> None:
    engine = TransformersEngine(thinking_model, EngineRuntime(batch_size=16, dtype="float32", device="cpu"))
    requests = [GenerateRequest(str(i), ASKED, i, "strip") for i in range(16)]
    budgets = Sampling(max_new_tokens=3, max_thinking_tokens=5)
    (found,) = engine.generate(requests, budgets)
    assert len({each.thought_tokens for each in found}) > 1
    for each in found:
        closed = engine.tokenizer.convert_tokens_to_ids("</think>")
        thought, answer = each.tokens_T[: each.thought_tokens], each.tokens_T[each.thought_tokens :]
        assert (len(thought) <= 5, len(answer) <= 3) == (True, True)
        assert len(each.logprobs_T) == len(each.tokens_T)
        assert closed not in thought[:-1]
        if thought[-1] == closed:
            assert each.finish_reason == ("stop" if answer[-1] == 2 else "length")
        else:
            assert (answer, each.text, each.finish_reason) == ([], "", "length")
    (without,) = engine.generate([GenerateRequest("0", ASKED, 0, "off")], budgets)
    assert engine.tokenizer.decode(without[0].prompt_tokens).endswith("</think>\n\n")
    assert without[0].thought_tokens == 0
    assert len(without[0].tokens_T) <= 3


def test_earlier_thoughts_are_shown_as_the_template_shows_them(thinking_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(thinking_model)
    turns = (*ASKED, ("assistant", "<think>\nIs it late?\n</think>\n\nYes."), ("user", "Why?"))
    shown = tokenizer.decode(chat_tokens(tokenizer, turns))
    assert "late" not in shown
    assert "assistant\nYes.<|im_end|>" in shown


def test_a_reference_follows_an_empty_thought_where_the_prompt_opened_one(
    tiny_model: Path, thinking_model: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(thinking_model)
    for thinking, text in ((None, "\n</think>\n\n"), (True, "\n</think>\n\n"), (False, "")):
        prompt = chat_tokens(tokenizer, ASKED, thinking=thinking)
        assert tokenizer.decode(empty_thought(tokenizer, prompt)) == text
    plain = AutoTokenizer.from_pretrained(tiny_model)
    assert empty_thought(plain, chat_tokens(plain, ASKED)) == []
    tokenizer.chat_template = (  # as that of Qwen 3: the thought is opened by the model, and empty in a last reply
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' and loop.last %}"
        "<think>\n\n</think>\n\n{% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    assert tokenizer.decode(empty_thought(tokenizer, chat_tokens(tokenizer, ASKED))) == "<think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("[THINK]Hm[/THINK] No", ("Hm", "No")),
        ("\n<think>\nHm\n</think>\n\nNo", ("Hm", "No")),
        ("the prompt opened it</think>No", ("the prompt opened it", "No")),
        ("<think>cut off", ("cut off", "")),
        ("No", ("", "No")),
    ],
)
def test_a_servers_text_is_divided_too(said: str, parts: tuple[str, str]) -> None:
    assert divided(said) == parts
