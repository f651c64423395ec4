"""Steps on a cluster: those that load a model ask for a GPU, the others for none."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import dagster as dg
import dagster_k8s
import pytest
import yaml
from dagster_k8s import k8s_job_executor
from dagster_k8s.job import get_user_defined_k8s_config
from dagster_k8s.launcher import K8sRunLauncher
from dagster_ray import ray_executor
from dagster_ray.configs import RayExecutionConfig

from assets.definitions import campaign_assets, definitions
from rft_pipeline.campaign import load_campaign
from rft_pipeline.store import Home
from tests.runs import edit

ROOT = Path(__file__).parents[2]
DEPLOYMENT = ROOT / "docs" / "kubernetes"
SERVED = {"model": "served:judge", "server": {"url": "http://127.0.0.1:1/v1"}}


def gpus(folder: Path) -> dict[str, int]:
    """The GPUs that each step of a campaign asks for, as both libraries read its tags; by the last part of its keys."""
    found = {}
    for asset in campaign_assets(load_campaign(folder)):
        resources = get_user_defined_k8s_config(asset.op.tags).container_config.get("resources", {})
        limits = resources.get("limits", {})
        assert limits.keys() <= {"nvidia.com/gpu"}
        count = int(limits.get("nvidia.com/gpu", 0))
        assert (RayExecutionConfig.from_tags(asset.op.tags).num_gpus or 0) == count
        found |= {key.path[-1]: count for key in asset.keys}
    return found


def test_stages_that_load_a_model_ask_for_a_gpu_and_others_for_none(tiny_campaign: Path) -> None:
    edit_devices(tiny_campaign, "auto")
    found = gpus(tiny_campaign)
    assert {stage for stage, count in found.items() if count} == {
        *("rollouts", "judge_scores", "checkpoints", "eval_reports", "promotion")
    }
    assert set(found.values()) == {0, 1}


def test_a_campaign_on_cpus_asks_for_no_gpu(tiny_campaign: Path) -> None:
    edit_devices(tiny_campaign, "cpu")
    assert set(gpus(tiny_campaign).values()) == {0}


def test_training_asks_for_a_gpu_for_each_process(tiny_campaign: Path) -> None:
    edit_devices(tiny_campaign, "auto")
    edit(tiny_campaign / "campaign.yaml", "training.runtime", {"processes": 2})
    found = gpus(tiny_campaign)
    assert (found["checkpoints"], found["rollouts"]) == (2, 1)


def test_workers_of_ray_reserve_their_own_gpus(tiny_campaign: Path) -> None:
    edit_devices(tiny_campaign, "auto")
    edit(tiny_campaign / "campaign.yaml", "rollouts.runtime", {"engine": "ray", "worker": {"gpus": 1}})
    assert gpus(tiny_campaign)["rollouts"] == 0


def edit_devices(folder: Path, device: str) -> None:
    runtime = {"device": device}
    for key in ("rollouts.runtime", "evaluation.runtime", "training.runtime", "judge.runtime"):
        edit(folder / "campaign.yaml", key, runtime)


@pytest.mark.parametrize(
    ("executor", "name", "config"),
    [
        (k8s_job_executor, "k8s", {}),
        (ray_executor.configured({"ray": {"num_cpus": 1}}, name="ray"), "ray", {}),
    ],
    ids=["kubernetes", "ray"],
)
def test_the_jobs_of_a_cluster_run_each_step_by_its_executor(
    tiny_campaign: Path, executor: dg.ExecutorDefinition, name: str, config: dict[str, Any]
) -> None:
    defs = definitions(Home.find(), executor)
    dg.Definitions.validate_loadable(defs)
    job = defs.resolve_job_def("tiny")
    assert job.executor_def.name == name
    assert dg.validate_run_config(job, config)


@pytest.mark.parametrize("module", ["kubernetes", "ray_jobs"])
def test_the_code_locations_of_clusters_load(module: str, tiny_campaign: Path) -> None:
    program = f"from assets.{module} import defs; print(defs.resolve_job_def('tiny').executor_def.name)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [{"kubernetes": "k8s", "ray_jobs": "ray"}[module]]


def test_the_values_of_the_helm_chart_fit_dagsters_classes_and_the_image() -> None:
    values = yaml.safe_load((DEPLOYMENT / "values.yaml").read_text(encoding="utf-8"))
    launcher = values["runLauncher"]
    assert launcher["type"] == K8sRunLauncher.__name__
    run_config = {
        re.sub(r"([A-Z])", r"_\1", key).lower(): value
        for key, value in launcher["config"]["k8sRunLauncher"]["runK8sConfig"].items()
    }
    instance = {"instance_config_map": "dagster-instance", "postgres_password_secret": "dagster", "dagster_home": "/d"}
    config = {**instance, "service_account_name": "dagster", "run_k8s_config": run_config}
    assert validated(K8sRunLauncher.config_type(), config)["run_k8s_config"] == run_config
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    assert deployment["dagsterApiGrpcArgs"] == ["--module-name", "rft_pipeline.dagster_assets.kubernetes"]
    assert (ROOT / "assets" / "kubernetes.py").is_file()
    image = deployment["image"]
    dockerfile = (DEPLOYMENT / "Dockerfile").read_text(encoding="utf-8")
    assert f"--tag {image['repository']}:{image['tag']}" in dockerfile
    set_there = dict(each.split("=") for each in re.findall(r"^ENV (.+)$", dockerfile, re.MULTILINE)[0].split())
    assert {each["name"]: each["value"] for each in deployment["env"]} == set_there
    mounts = {each["name"]: each["mountPath"] for each in deployment["volumeMounts"]}
    assert mounts.keys() == {each["name"] for each in deployment["volumes"]}
    assert all(value.startswith(f"{mounts['rft']}/") for value in set_there.values())


def validated(schema: Any, config: dict[str, Any]) -> Any:
    from dagster._config import Field, validate_config
    from dagster._config.field_utils import Shape

    result = validate_config(Shape(schema) if isinstance(schema, dict) else Field(schema).config_type, config)
    assert result.success, result.errors
    return result.value


@pytest.mark.waits
def test_the_steps_of_the_dockerfile_install_a_package_that_loads(tmp_path: Path) -> None:
    """In a virtual environment that sees this one's packages, so that only this package is built and installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site_packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    outer = {sysconfig.get_path("purelib"), str(Path(dagster_k8s.__file__).parents[1])}
    (site_packages / "outer.pth").write_text("".join(f"{path}\n" for path in outer), encoding="utf-8")
    dockerfile = (DEPLOYMENT / "Dockerfile").read_text(encoding="utf-8")
    (step,) = re.findall(r"^RUN (.+)$", dockerfile, re.MULTILINE)
    names = set(re.findall(r"^(\w+) =", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE))
    (extras,) = re.findall(r"^ARG EXTRAS=(.+)$", dockerfile, re.MULTILINE)
    assert set(extras.split(",")) <= names
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RFT_", "PYTHONPATH"))}
    environment |= {"PATH": f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}", "EXTRAS": "k8s"}
    environment |= dict.fromkeys(("RFT_HOME", "RFT_DATA"), str(tmp_path / "rft"))
    done = subprocess.run(
        ["sh", "-c", step.replace("/src", str(ROOT))], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (site_packages / "rft_pipeline" / "dagster_assets" / "kubernetes.py").is_file()
