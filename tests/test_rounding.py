"""Rounding to bfloat16 keeps what many weights have learnt together."""

import pytest
import torch

from rft_pipeline.rounding import all_rounded, narrowed, rounded

SOME = torch.randn(200_000, generator=torch.Generator().manual_seed(0)).bfloat16().float()


def test_bfloat16_numbers_stay() -> None:
    special = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), 1.0, -3.0])
    assert torch.equal(rounded("weight", SOME, seed=1), SOME)
    assert torch.equal(rounded("weight", special, seed=1), special)


@pytest.mark.parametrize("share", [0.1, 0.4, -0.1, -0.4])
def test_updates_that_the_nearest_number_would_undo_are_kept_in_the_mean(share: float) -> None:
    unit = torch.exp2(SOME.abs().log2().floor() - 7)
    moved = SOME + share * unit
    away = SOME.sign() * share > 0  # towards 0, the step below a power of two is half as wide
    assert torch.equal(moved[away].bfloat16().float(), SOME[away])
    kept = ((rounded("weight", moved, seed=1) - SOME) / unit)[away]
    assert kept.mean().item() == pytest.approx(share, abs=0.01)
    assert set(kept.unique().tolist()) == {0.0, share / abs(share)}


def test_large_weights_use_the_random_numbers_several_times_and_small_ones_have_their_own() -> None:
    large = torch.full((3, 1 << 20), 1.001)
    found = rounded("weight", large, seed=1)
    assert found.mean().item() == pytest.approx(1.001, abs=1e-4)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], rounded("other", large, seed=1)[0])
    assert not torch.equal(found, rounded("weight", large, seed=2))
    assert torch.equal(found, rounded("weight", large, seed=1))


def test_names_of_one_tensor_stay_names_of_one_tensor() -> None:
    tied, other, whole = torch.full((8,), 1.001), torch.full((8,), 1.001), torch.arange(3)
    found = all_rounded({"embed": tied, "head": tied, "other": other, "whole": whole}, seed=1)
    assert found["embed"].dtype == found["other"].dtype == torch.bfloat16
    assert found["embed"].data_ptr() == found["head"].data_ptr()
    assert found["whole"] is whole


def test_numbers_that_are_bfloat16_are_narrowed_without_a_draw_and_others_as_they_are_rounded() -> None:
    moved = SOME * 1.001
    assert torch.equal(narrowed("weight", SOME, seed=1), SOME.bfloat16())
    assert torch.equal(narrowed("weight", moved, seed=1).float(), rounded("weight", moved, seed=1))
    assert not torch.equal(narrowed("weight", moved, seed=1), moved.bfloat16())


@pytest.mark.parametrize("count", [0, 1, (1 << 20) + 5])
def test_rounding_in_place_gives_the_same_numbers(count: int) -> None:
    weight, found = torch.full((count,), 1.001), torch.empty(count)
    assert rounded("weight", weight, seed=1, into=found) is found
    assert torch.equal(found, rounded("weight", weight, seed=1))
