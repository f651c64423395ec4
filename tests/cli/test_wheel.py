"""An installed wheel, in a folder that holds only a campaign."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.cli.small import ROOT
from tests.tiny_campaign import write_campaign


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of a wheel, laid out by the table of pyproject.toml that the build backend reads."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    folder = tmp_path_factory.mktemp("site_packages")
    for name in wheel["only-include"]:
        shutil.copytree(ROOT / name, folder / wheel["sources"].get(name, name), dirs_exist_ok=True)
    return folder


def python(folder: Path, site_packages: Path, *arguments: str) -> str:
    """What Python prints in a folder where only the wheel's packages are found, and no variable names a home."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RFT_", "DAGSTER_HOME"))}
    environment["PYTHONPATH"] = str(site_packages)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_wheel_installs_one_package(site_packages: Path) -> None:
    assert [path.name for path in site_packages.iterdir()] == ["rft_pipeline"]
    assert (site_packages / "rft_pipeline" / "dagster_assets" / "definitions.py").is_file()


def test_dagster_finds_the_campaigns_of_the_folder(site_packages: Path, tiny_model: Path, tmp_path: Path) -> None:
    write_campaign(tmp_path, tiny_model)
    prepare = (
        "import rft_pipeline; from rft_pipeline.runs import dagster_home; from rft_pipeline.store import Home\n"
        "print(rft_pipeline.__file__); dagster_home.prepare(Home.find())"
    )
    assert str(site_packages) in python(tmp_path, site_packages, "-c", prepare)
    workspace = tmp_path / ".rft" / "dagster" / "workspace.yaml"
    jobs = python(tmp_path, site_packages, "-m", "dagster", "job", "list", "-w", str(workspace))
    assert "rft_pipeline.dagster_assets.definitions" in jobs
    assert "Job: tiny" in jobs
