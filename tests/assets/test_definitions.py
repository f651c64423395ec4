"""The code location: what Dagster sees before anything runs."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from assets.definitions import campaign_assets, definitions
from assets.unreadable import unreadable
from rft_pipeline.campaign import load_campaign
from rft_pipeline.errors import ConfigError
from rft_pipeline.runs.execute import ALL_IN_ONE_PROCESS, EACH_STEP_A_PROCESS
from rft_pipeline.stages.graph import code_versions, nodes
from rft_pipeline.store import Home
from tests.runs import edit

LOADS_A_MODEL = ("promotion", "rollouts", "judge_scores", "checkpoints", "eval_reports")
CHECKS = {
    "promotion": {"promoted"},
    "prompts": {"no_overlap"},
    "rollouts": {"truncation_share"},
    "judge_scores": {"unscored_share"},
    "reward_batches": {"groups_with_variance"},
    "checkpoints": {"finite"},
    "eval_reports": {"truncation_share"},
}
BLOCKING = {"no_overlap", "groups_with_variance", "finite"}


def specs(folder: Path) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for asset in campaign_assets(load_campaign(folder)) for spec in asset.specs}


def test_definitions_load_without_the_heavy_libraries(tiny_campaign: Path) -> None:
    code = (
        "import json, sys\n"
        "from assets.definitions import defs\n"
        "jobs = [job.name for job in defs.resolve_all_job_defs() if not job.name.startswith('__')]\n"
        "heavy = {'torch', 'transformers', 'trl', 'vllm', 'mlflow', 'datasets', 'altair', 'sklearn', 'scipy'}\n"
        "print(json.dumps([jobs, sorted(heavy & sys.modules.keys())]))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    jobs, heavy = json.loads(done.stdout.splitlines()[-1])
    assert jobs == ["tiny"]
    assert heavy == []


def test_every_node_is_an_asset_with_the_same_dependencies(tiny_campaign: Path) -> None:
    found = specs(tiny_campaign)
    expected = {node.key: node for node in nodes(load_campaign(tiny_campaign))}
    assert set(found) == set(expected)
    for key, spec in found.items():
        deps = {dep.asset_key.to_user_string() for dep in spec.deps}
        assert deps == {f"tiny/{name}" for name in expected[key].upstream.values()}


def test_assets_are_grouped_by_round_described_and_versioned(tiny_campaign: Path) -> None:
    found = specs(tiny_campaign)
    versions = code_versions(load_campaign(tiny_campaign))
    for node in nodes(load_campaign(tiny_campaign)):
        spec = found[node.key]
        round_ = f"tiny_{node.round + 1}_round_{node.round}" if node.round else "tiny_1_sources"
        assert spec.group_name == {"promotion": "tiny_4_promotion"}.get(node.name, round_)
        assert spec.code_version == versions[node.name]
        assert spec.description
        assert len(spec.kinds) == 1
        assert spec.tags["rft/campaign"] == "tiny"
        assert spec.tags["rft/stage"] == node.stage


def test_stages_that_load_a_model_share_a_pool(tiny_campaign: Path) -> None:
    for asset in campaign_assets(load_campaign(tiny_campaign)):
        loads = asset.key.path[-1] in LOADS_A_MODEL
        assert asset.op.pool == ("accelerator" if loads else None)


def test_stages_have_their_checks_and_some_checks_stop_downstream_stages(tiny_campaign: Path) -> None:
    for asset in campaign_assets(load_campaign(tiny_campaign)):
        checks = {spec.name: spec for spec in asset.check_specs}
        assert set(checks) == CHECKS.get(asset.key.path[-1], set())
        assert {name for name, spec in checks.items() if spec.blocking} == checks.keys() & BLOCKING


def test_a_campaign_has_one_job_over_all_its_assets(tiny_campaign: Path) -> None:
    defs = definitions(Home.find())
    job = defs.resolve_job_def("tiny")
    assert "[Promotion](/rft/reports/tiny.promotion.html)" in str(job.description)
    assert "audit" not in str(job.description)
    assert len(list(job.asset_layer.executable_asset_keys)) == 15
    for config in (EACH_STEP_A_PROCESS, ALL_IN_ONE_PROCESS):
        assert dg.validate_run_config(job, config)


def test_dagster_accepts_the_definitions(tiny_campaign: Path) -> None:
    dg.Definitions.validate_loadable(definitions(Home.find()))


def test_two_campaigns_have_separate_assets_and_jobs(tiny_campaign: Path) -> None:
    other = tiny_campaign.with_name("other")
    shutil.copytree(tiny_campaign, other)
    edit(other / "campaign.yaml", "name", "other")
    edit(other / "campaign.yaml", "rounds", 1)
    defs = definitions(Home.find())
    keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert {key.partition("/")[0] for key in keys} == {"tiny", "other"}
    assert "other/round_2/rollouts" not in keys
    assert len(list(defs.resolve_job_def("other").asset_layer.executable_asset_keys)) == 10


def no_number(folder: Path) -> None:
    edit(folder / "campaign.yaml", "seed", "seven")


def no_rubric(folder: Path) -> None:
    (folder / "rubric.yaml").unlink()


def bad_cron(folder: Path) -> None:
    edit(folder / "campaign.yaml", "schedule", {"cron": "at noon"})


def bad_module(folder: Path) -> None:
    edit(folder / "campaign.yaml", "rollouts", {"engine": {"type": "custom", "path": "nowhere:engine"}})


def no_text(folder: Path) -> None:
    (folder / "campaign.yaml").write_bytes(b"name: \xff\xfe")


def no_date(folder: Path) -> None:
    (folder / "rubric.yaml").write_text("criteria: 2026-13-45\n")


def another_name(folder: Path) -> None:
    edit(folder / "campaign.yaml", "name", "tiny")


def link_to_itself(folder: Path) -> None:
    (folder / "campaign.yaml").unlink()
    (folder / "campaign.yaml").symlink_to("campaign.yaml")


def a_folder(folder: Path) -> None:
    (folder / "campaign.yaml").unlink()
    (folder / "campaign.yaml").mkdir()


BROKEN = [no_number, no_rubric, bad_cron, bad_module, no_text, no_date, another_name, link_to_itself, a_folder]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("name", ["other", "my other-campaign"])
def test_a_campaign_that_cannot_be_read_is_one_asset_with_the_error(
    tiny_campaign: Path, broken: Callable[[Path], None], name: str
) -> None:
    other = tiny_campaign.with_name(name)
    shutil.copytree(tiny_campaign, other)
    edit(other / "campaign.yaml", "name", name)
    broken(other)
    defs = definitions(Home.find())
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    (key,) = [key for key in graph.get_all_asset_keys() if key.path[0] != "tiny"]
    assert key.path == [name, "unreadable"]
    assert str(other) in (graph.get(key).description or "")
    assert len(list(defs.resolve_job_def("tiny").asset_layer.executable_asset_keys)) == 15
    assert [sensor.name for sensor in defs.sensors or []] == ["tiny_changes"]


def test_materializing_what_cannot_be_read_fails_with_the_error() -> None:
    made = unreadable("other", ConfigError("other/campaign.yaml: seed: must be an integer"))
    with pytest.raises(dg.Failure, match="seed: must be an integer"):
        dg.materialize([made])


def test_a_folder_without_a_campaign_file_is_no_campaign(tiny_campaign: Path) -> None:
    (tiny_campaign.parent / "notes").mkdir()
    (tiny_campaign.parent / "README").write_text("words")
    assert Home.find().campaigns() == ["tiny"]
