"""Definitions: how long does Dagster wait for the code location of many campaigns?

Copies of one campaign are written into a temporary folder and loaded in fresh processes, as Dagster does for every
run, step and reload: `import dagster`, `assets.definitions`, and the repository that Dagster builds from them. Each
process is timed several times; the least is what the work costs, the rest is the machine doing other things.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.table import Table

from benchmarks.common import CampaignName, Goal, conclude, find_campaign, run, say
from benchmarks.fresh import Ended, fresh
from rft_pipeline.cli import console

SECONDS_GOAL = 3.0
"""Most seconds until all campaigns are loaded, `import dagster` included."""

DAGSTER_ALONE = """
import json, time
began = time.perf_counter()
import dagster
print(json.dumps({"seconds": time.perf_counter() - began}))
"""
WITH_DEFINITIONS = """
import json, time
began = time.perf_counter()
import assets.definitions
repository = assets.definitions.defs.get_repository_def()
seconds = time.perf_counter() - began
print(json.dumps({"seconds": seconds, "assets": len(repository.assets_defs_by_key)}))
"""


def definitions(
    campaign: CampaignName = "support_reply",
    campaigns: Annotated[int, typer.Option(min=1, help="Copies of the campaign.")] = 20,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds of each.")] = 5,
    times: Annotated[int, typer.Option(min=1, help="How often each is timed.")] = 5,
) -> None:
    """Seconds until the definitions of many campaigns are loaded, compared with `import dagster` alone."""
    with tempfile.TemporaryDirectory() as folder:
        env = write_campaigns(find_campaign(campaign).folder, Path(folder), campaigns, rounds)
        found: dict[str, list[Ended]] = {"import dagster": [], "with the definitions": []}
        for turn in range(times):
            found["import dagster"].append(fresh("-c", DAGSTER_ALONE, env=env))
            found["with the definitions"].append(fresh("-c", WITH_DEFINITIONS, env=env))
            say(f"turn {turn + 1} of {times}: {found['with the definitions'][-1].output['seconds']:.2f} s")
    loaded = found["with the definitions"]
    table = Table(title=f"{campaigns} campaigns × {rounds} rounds: {loaded[0].output['assets']} assets")
    for column in ("", "seconds, least", "seconds, most", "CPU seconds, least", "peak MB"):
        table.add_column(column, justify="right" if column else "left")
    for name, each in found.items():
        seconds = [one.output["seconds"] for one in each]
        cpu, peak = min(one.cpu_seconds for one in each), max(one.megabytes for one in each)
        table.add_row(name, f"{min(seconds):.2f}", f"{max(seconds):.2f}", f"{cpu:.2f}", f"{peak:.0f}")
    console.out.print(table)
    least = min(one.output["seconds"] for one in loaded)
    conclude([Goal("loading the definitions", f"{least:.2f} s", f"< {SECONDS_GOAL:.0f} s", least < SECONDS_GOAL)])


def write_campaigns(source: Path, root: Path, campaigns: int, rounds: int) -> dict[str, str]:
    """Copies of a campaign below `root / "data"`; returns the environment that finds them."""
    settings = yaml.safe_load((source / "campaign.yaml").read_text(encoding="utf-8"))
    for number in range(1, campaigns + 1):
        name = f"{source.name}_{number}"
        copy = shutil.copytree(source, root / "data" / name)
        text = yaml.safe_dump({**settings, "name": name, "rounds": rounds}, sort_keys=False)
        (copy / "campaign.yaml").write_text(text, encoding="utf-8")
    return {"RFT_HOME": str(root / "home"), "RFT_DATA": str(root / "data")}


if __name__ == "__main__":
    run(definitions)
