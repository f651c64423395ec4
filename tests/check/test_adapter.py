"""Modules that an adapter is to change, and that the policy may not have."""

from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.check.adapter import check_adapter
from rft_pipeline.check.result import Findings
from tests.check.small import campaign

THERE = "its modules are down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"


def found(tmp_path: Path, model: Path, modules: list[str]) -> tuple[list[str], list[str]]:
    training = {"batch_size": 8, "weights": "lora", "lora": {"target_modules": modules}}
    folder = campaign(tmp_path, settings={"policy": {"model": str(model)}, "training": training})
    findings = Findings()
    check_adapter(load_campaign(folder), tmp_path / "models", findings)
    return findings.errors, findings.warnings


@pytest.mark.parametrize("modules", [["q_proj", "down_proj"], ["self_attn.q_proj"], ["model.layers.0.mlp.up_proj"]])
def test_modules_that_the_policy_has_pass(tmp_path: Path, tiny_model: Path, modules: list[str]) -> None:
    assert found(tmp_path, tiny_model, modules) == ([], [])


@pytest.mark.parametrize("modules", [["nonsense"], ["proj"], ["all-linear"]])
def test_modules_of_which_the_policy_has_none_are_refused(tmp_path: Path, tiny_model: Path, modules: list[str]) -> None:
    [error], warnings = found(tmp_path, tiny_model, modules)
    where = f"{tmp_path / 'small' / 'campaign.yaml'}: training.lora.target_modules"
    assert error == f"{where}: {tiny_model} has no {modules[0]}; {THERE}"
    assert warnings == []


def test_a_module_that_the_policy_lacks_is_warned_of(tmp_path: Path, tiny_model: Path) -> None:
    errors, [warning] = found(tmp_path, tiny_model, ["q_proj", "c_attn"])
    assert errors == []
    assert warning.endswith(f"has no c_attn; {THERE}; the others are trained")


def test_a_policy_that_is_not_here_yet_is_passed_over(tmp_path: Path) -> None:
    assert found(tmp_path, Path("some/model"), ["nonsense"]) == ([], [])
