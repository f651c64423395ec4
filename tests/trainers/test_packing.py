"""Packed passes: the prompt of a group once, with all its replies behind it."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from rft_pipeline.engines.weights import load_weights
from rft_pipeline.trainers import shared_prompt
from rft_pipeline.trainers.packing import layout_of
from rft_pipeline.trainers.passes import PassLayout, PassPlan, collate, plan_passes
from rft_pipeline.trainers.rows import TrainingRow
from rft_pipeline.trainers.scoring import score
from tests.architectures import write_model

PACKED = {"llama", "qwen2", "qwen3", "phi", "gpt-2", "gpt-neox", "cohere", "granite", "falcon"}
"""The architectures that take packed sequences. Others have short windows, state, biases by distance, or a loss for the
balance of their experts."""


def group(prompt: int, replies: list[int], name: str = "a") -> list[TrainingRow]:
    start = sum(map(ord, name))
    return [
        TrainingRow(name, list(range(start, start + prompt)), [100 + 10 * k + t for t in range(count)], [], 0.0, True)
        for k, count in enumerate(replies)
    ]


def test_a_packed_sequence_has_the_prompt_once_and_each_reply_where_it_would_be_alone() -> None:
    rows = group(3, [2, 3])
    part = collate(rows, PassPlan([[0, 1]], packed=True), torch.device("cpu"), torch.float32)
    assert part.inputs["input_ids"].tolist() == [[*rows[0].prompt_tokens, *rows[0].tokens, *rows[1].tokens]]
    assert part.inputs["position_ids"].tolist() == [[0, 1, 2, 3, 4, 3, 4, 5]]
    allowed = (part.inputs["attention_mask"][0, 0] == 0).int().tolist()
    assert allowed == [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 1, 0, 0],
        [1, 1, 1, 0, 0, 1, 1, 0],
        [1, 1, 1, 0, 0, 1, 1, 1],
    ]
    # the first token of each reply is predicted from the prompt's last
    assert part.position_N.tolist() == [2, 3, 2, 5, 6]
    assert part.tokens_N.tolist() == rows[0].tokens + rows[1].tokens


def test_a_group_that_is_too_long_for_a_pass_is_divided() -> None:
    rows = group(100, [40] * 8)
    plans = plan_passes(rows, range(8), PassLayout(2, packs=True))[0]
    # two padded rows have 280 tokens and project 80
    assert [plan.sequences for plan in plans] == [[[6, 7]], [[0, 1, 2]], [[3, 4, 5]]]
    for plan in plans:
        projected = 40 * len(plan.sequences[0])
        assert 100 + projected <= 280
        assert 100 + 2 * projected <= 360


def test_small_groups_share_a_pass() -> None:
    rows = [*group(10, [4] * 4, "a"), *group(12, [4] * 4, "b")]
    plans = plan_passes(rows, range(8), PassLayout(8, packs=True))[0]
    assert [plan.sequences for plan in plans] == [[[0, 1, 2, 3], [4, 5, 6, 7]]]
    assert [plan.sequences for plan in plan_passes(rows, range(8), PassLayout(1, packs=True))[0]] != plans[0].sequences


def test_rows_longer_than_the_window_are_padded() -> None:
    rows = [*group(10, [4] * 2, "a"), *group(30, [4] * 2, "b")]
    plans = plan_passes(rows, range(4), PassLayout(4, packs=True, longest_packed=20))[0]
    assert [(plan.packed, plan.sequences) for plan in plans] == [(True, [[0, 1]]), (False, [[2], [3]])]


@pytest.mark.parametrize("processes", [2, 3, 5])
@pytest.mark.parametrize("packs", [True, False])
def test_processes_share_the_rows_and_have_as_many_passes(processes: int, packs: bool) -> None:
    rows = [*group(10, [4] * 3, "a"), *group(12, [9, 2], "b")]
    plans = plan_passes(rows, range(5), PassLayout(2, packs=packs), processes)
    busy = [i for mine in plans for plan in mine if not plan.idle for sequence in plan.sequences for i in sequence]
    assert sorted(busy) == list(range(5))
    assert len({len(mine) for mine in plans}) == 1
    if processes < 5:
        assert all(any(not plan.idle for plan in mine) for mine in plans)


def layout(folder: Any, balances: bool = False, packing: str = "auto") -> PassLayout:
    model = load_weights(folder, "float32", "cpu")
    return layout_of(model, model.get_output_embeddings(), 4, packing, balances)


def test_a_model_that_gives_the_same_log_probs_is_packed(
    architecture: str, architecture_model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    found = layout(architecture_model, balances=architecture in ("qwen2-moe", "gpt-oss"))
    assert found.packs == (architecture in PACKED)
    assert ("training with padding instead of packed sequences" in caplog.text) != found.packs


def test_packing_can_be_switched_off_without_a_word(tiny_model: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert layout(tiny_model).packs
    assert not layout(tiny_model, packing="off").packs
    assert not caplog.text


def test_a_window_is_the_longest_row_that_is_packed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        __import__("tests.architectures").architectures.ARCHITECTURES,
        "wide",
        ("MistralConfig", {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "sliding_window": 40}),
    )
    assert layout(write_model(tmp_path / "wide", "wide")).longest_packed == 40


@pytest.mark.parametrize("name", sorted(PACKED - {"falcon"}))  # it calls attention by itself
@pytest.mark.parametrize("most_scores", [0, shared_prompt.MOST_SCORES])
def test_attention_by_the_spans_is_that_of_the_mask(
    most_scores: int, name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_prompt, "MOST_SCORES", most_scores)
    model = load_weights(write_model(tmp_path / "model", name), "float32", "cpu")
    rows = [*group(9, [6, 3, 7], "a"), *group(4, [2, 5], "b")]
    part = collate(rows, PassPlan([[0, 1, 2], [3, 4]], packed=True), torch.device("cpu"), torch.float32)
    calls: list[int] = []
    own = shared_prompt._of_sequence

    def counted(*args: Any, **how: Any) -> torch.Tensor:
        calls.append(1)
        return own(*args, **how)

    monkeypatch.setattr(shared_prompt, "_of_sequence", counted)
    found, gradients = [], []
    for each in (part, replace(part, spans=None)):
        model.zero_grad()
        logprobs = score(model, model.get_output_embeddings(), each, 1.0).logprobs_N
        (logprobs * torch.arange(len(logprobs))).sum().backward()
        found.append(logprobs.detach())
        gradients.append(torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None]))
    assert len(calls) == 2 * model.config.num_hidden_layers  # by the spans once, in each layer for both sequences
    assert torch.allclose(*found, atol=1e-5)
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-4)
