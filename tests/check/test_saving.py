"""What of a policy's generation_config.json no checkpoint can keep."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.check import saving
from rft_pipeline.check.result import Findings
from rft_pipeline.check.saving import check_saving
from tests.check.small import campaign


def found(tmp_path: Path, tiny_model: Path, text: str | None) -> Findings:
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (model / "generation_config.json").unlink()
    if text is not None:
        (model / "generation_config.json").write_text(text, encoding="utf-8")
    folder = campaign(tmp_path, settings={"policy": {"model": str(model)}})
    findings = Findings()
    check_saving(load_campaign(folder), tmp_path / "models", findings)
    return findings


def test_a_temperature_without_sampling_is_warned_of(tmp_path: Path, tiny_model: Path) -> None:
    findings = found(tmp_path, tiny_model, '{"do_sample": false, "temperature": 0.9}')
    assert findings.errors == []
    [warning] = findings.warnings
    file = tmp_path / "model" / "generation_config.json"
    assert f"campaign.yaml: policy.model: {file}: temperature 0.9 contradicts other settings in the file" in warning


@pytest.mark.parametrize(
    "settings",
    [None, {}, {"eos_token_id": [0, 2], "pad_token_id": 0}, {"do_sample": True, "temperature": 0.6, "top_k": 20}],
)
def test_usual_settings_pass_without_asking_transformers(
    settings: dict[str, Any] | None, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(saving, "saveable_generation")
    findings = found(tmp_path, tiny_model, None if settings is None else json.dumps(settings))
    assert (findings.errors, findings.warnings) == ([], [])


def test_a_file_that_transformers_wrote_passes_without_asking_it(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(saving, "saveable_generation")
    written = (tiny_model / "generation_config.json").read_text(encoding="utf-8")
    assert "output_attentions" in json.loads(written)
    findings = found(tmp_path, tiny_model, written)
    assert (findings.errors, findings.warnings) == ([], [])


def test_a_file_that_is_no_json_is_an_error(tmp_path: Path, tiny_model: Path) -> None:
    [error] = found(tmp_path, tiny_model, "{").errors
    assert "generation_config.json: not JSON" in error
