"""Modules that an adapter is to change, and that the policy may not have."""

import json
import shutil
from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.check.adapter import check_adapter
from rft_pipeline.check.result import Findings
from tests.check.small import campaign

HEAD = "cannot have an adapter: the loss computes likelihoods from the original weights; remove it"
THERE = "its modules are down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"


def found(tmp_path: Path, model: Path, modules: list[str] | str) -> tuple[list[str], list[str]]:
    training = {"batch_size": 8, "weights": "lora", "lora": {"target_modules": modules}}
    folder = campaign(tmp_path, settings={"policy": {"model": str(model)}, "training": training})
    findings = Findings()
    check_adapter(load_campaign(folder), tmp_path / "models", findings)
    return findings.errors, findings.warnings


@pytest.mark.parametrize(
    "modules", ["all-linear", ["q_proj", "down_proj"], ["self_attn.q_proj"], ["model.layers.0.mlp.up_proj"]]
)
def test_modules_that_the_policy_has_pass(tmp_path: Path, tiny_model: Path, modules: list[str] | str) -> None:
    assert found(tmp_path, tiny_model, modules) == ([], [])


@pytest.mark.parametrize("modules", [["nonsense"], ["proj"], ["all-linear"]])
def test_modules_of_which_the_policy_has_none_are_refused(tmp_path: Path, tiny_model: Path, modules: list[str]) -> None:
    [error], warnings = found(tmp_path, tiny_model, modules)
    where = f"{tmp_path / 'small' / 'campaign.yaml'}: training.lora.target_modules"
    assert error == f"{where}: {tiny_model} has no {modules[0]}; {THERE}. Write all-linear for all of them"
    assert warnings == []


def test_a_module_that_the_policy_lacks_is_warned_of(tmp_path: Path, tiny_model: Path) -> None:
    errors, [warning] = found(tmp_path, tiny_model, ["q_proj", "c_attn"])
    assert errors == []
    assert warning.endswith(f"has no c_attn; {THERE}; the others are trained")


def test_the_head_is_refused_beside_others(tmp_path: Path, tiny_model: Path) -> None:
    [error], warnings = found(tmp_path, tiny_model, ["q_proj", "lm_head"])
    assert f"training.lora.target_modules: lm_head {HEAD}" in error
    assert warnings == []


@pytest.mark.parametrize(("config", "refused"), [({}, False), ({"tie_word_embeddings": True}, True), (None, True)])
def test_embeddings_that_the_head_shares_are_refused(
    tmp_path: Path, tiny_model: Path, config: dict[str, bool] | None, refused: bool
) -> None:
    """Without the key the architecture's own default counts: untied for Llama, tied for Gemma."""
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    kept = json.loads((model / "config.json").read_text(encoding="utf-8"))
    kept.pop("tie_word_embeddings", None)
    (model / "config.json").write_text(
        json.dumps({**kept, **config} if config is not None else {"model_type": "gemma2"}), encoding="utf-8"
    )
    errors, warnings = found(tmp_path, model, ["q_proj", "embed_tokens"])
    assert warnings == []
    assert bool(errors) == refused
    assert all("embed_tokens shares its weights with the head" in error for error in errors)


def test_a_policy_that_is_not_here_yet_is_passed_over(tmp_path: Path) -> None:
    assert found(tmp_path, Path("some/model"), ["nonsense"]) == ([], [])
