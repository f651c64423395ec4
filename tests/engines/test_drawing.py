"""Drawing a token: the distribution is that of transformers' own warpers, and a row depends on nothing but itself."""

import pytest
import torch
from scipy import stats
from transformers.generation.logits_process import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from rft_pipeline.campaign import Sampling
from rft_pipeline.engines.drawing import SeededDraw, draw, nucleus_edge, weights

SETTINGS = {
    "plain": Sampling(),
    "temperature": Sampling(temperature=0.7),
    "top_k": Sampling(top_k=9),
    "top_p": Sampling(top_p=0.9),
    "top_k and top_p": Sampling(top_k=20, top_p=0.8),
    "all": Sampling(temperature=1.4, top_k=20, top_p=0.8),
}
every_setting = pytest.mark.parametrize("sampling", SETTINGS.values(), ids=SETTINGS)


def logits(tokens: int, spread: float, rows: int = 1) -> torch.Tensor:
    return spread * torch.randn(rows, tokens, generator=torch.Generator().manual_seed(3))


def expected(logits_BV: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The probabilities by transformers' own warpers."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)])
    if sampling.top_k:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    warped: torch.Tensor = warpers(torch.zeros(len(logits_BV), 1, dtype=torch.long), logits_BV)
    return warped.double().softmax(-1)


@every_setting
def test_tokens_are_drawn_as_often_as_their_probability_says(sampling: Sampling) -> None:
    logits_1V = logits(tokens=300, spread=1.0)
    probability_V = expected(logits_1V, sampling)[0]
    uniform_B = torch.rand(20_000, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    drawn_B = draw(weights(logits_1V, sampling).expand(20_000, -1), uniform_B)
    counts_V = drawn_B.squeeze(1).bincount(minlength=300)
    kept = probability_V > 0
    assert counts_V[~kept].sum() == 0
    assert stats.chisquare(counts_V[kept], 20_000 * probability_V[kept]).pvalue > 1e-3


@every_setting
@pytest.mark.parametrize("spread", [0.01, 1.0, 3.0, 10.0])
def test_weights_are_the_probabilities_whether_few_or_most_tokens_are_kept(sampling: Sampling, spread: float) -> None:
    logits_BV = logits(tokens=2_000, spread=spread, rows=5)
    weight_BV = weights(logits_BV, sampling)
    torch.testing.assert_close(
        weight_BV.double() / weight_BV.sum(-1, keepdim=True), expected(logits_BV, sampling), atol=1e-6, rtol=1e-4
    )


def test_rows_of_few_and_of_many_likely_tokens_find_their_edges_together() -> None:
    weight_BV = torch.cat([weights(logits(2_000, spread), Sampling()) for spread in (0.01, 10.0, 1.0)])
    together = nucleus_edge(weight_BV, 0.9)
    apart = torch.cat([nucleus_edge(row[None], 0.9) for row in weight_BV])
    assert torch.equal(together, apart)
    assert len(together.unique()) == 3


def test_every_token_of_a_large_vocabulary_has_its_share_of_the_uniform_numbers() -> None:
    tokens = torch.arange(150_001)
    middle_B = (tokens.double() + 0.5) / 150_001
    some = tokens[::1_000]
    assert torch.equal(draw(torch.ones(len(some), 150_001), middle_B[some]).squeeze(1), some)


@pytest.mark.parametrize("uniform", [0.0, 0.25, 0.5, 0.75, 1 - 2**-53])
@pytest.mark.parametrize("kept", [[0], [299], [5, 290], [0, 1, 2, 299]])
def test_a_token_of_weight_0_is_never_drawn(uniform: float, kept: list[int]) -> None:
    weight_1V = torch.zeros(1, 300)
    weight_1V[0, kept] = torch.tensor([1e-30, 1.0, 1e-7, 1e-30])[: len(kept)]
    assert int(draw(weight_1V, torch.tensor([uniform], dtype=torch.float64))) in kept


def test_a_masked_token_has_weight_0() -> None:
    logits_1V = torch.tensor([[1.0, -torch.inf, 0.0]])
    for sampling in SETTINGS.values():
        assert weights(logits_1V, sampling)[0, 1] == 0


def test_tokens_as_likely_as_the_last_one_kept_are_kept_too() -> None:
    logits_1V = torch.tensor([[0.0, 2.0, 0.0, 1.0, 1.0]])
    assert weights(logits_1V, Sampling(top_k=2)).nonzero()[:, 1].tolist() == [1, 3, 4]
    assert weights(logits_1V, Sampling(top_p=0.6)).nonzero()[:, 1].tolist() == [1, 3, 4]


@every_setting
def test_a_row_is_drawn_alike_in_any_batch_and_with_others_gone(sampling: Sampling) -> None:
    logits_BV = logits(tokens=2_000, spread=1.5, rows=40)
    seeds_B = list(range(40))
    together = SeededDraw(seeds_B, sampling, "cpu")
    first_B, _ = together(logits_BV)
    rows = torch.tensor([3, 39, 17])
    together.keep(rows)
    second_B, _ = together(logits_BV[rows])
    apart = SeededDraw([3, 39, 17], sampling, "cpu")
    assert torch.equal(apart(logits_BV[rows])[0], first_B[rows])
    assert torch.equal(apart(logits_BV[rows])[0], second_B)


def test_the_logprob_is_that_of_the_model_without_temperature_and_truncation() -> None:
    logits_BV = logits(tokens=2_000, spread=1.5, rows=20)
    token_B, logprob_B = SeededDraw(range(20), SETTINGS["all"], "cpu")(logits_BV)
    wanted_B = logits_BV.log_softmax(-1).gather(1, token_B[:, None]).squeeze(1)
    torch.testing.assert_close(logprob_B, wanted_B, atol=1e-5, rtol=0)
