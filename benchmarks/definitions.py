"""Definitions: how long does Dagster wait for the code location of many campaigns?

Copies of one campaign are written into a temporary folder and loaded in fresh processes, as Dagster does for every
run, step and reload: `import dagster`, `assets.definitions`, and the repository that Dagster builds from them. What is
compared with a goal is the ratio of the processor's seconds of all of it to those of `import dagster` in the same
process: the median of several processes.
"""

import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.table import Table

from benchmarks.common import CampaignName, Goal, conclude, find_campaign, run, say
from benchmarks.fresh import Ended, fresh
from rft_pipeline.cli import console

RATIO_GOAL = 4.0
"""Largest ratio of loading the definitions, `import dagster` included, to `import dagster`."""

LOAD = """
import json, time
began = time.process_time()
import dagster
dagster = time.process_time() - began
import assets.definitions
repository = assets.definitions.defs.get_repository_def()
loaded = time.process_time() - began
print(json.dumps({"dagster": dagster, "loaded": loaded, "assets": len(repository.assets_defs_by_key)}))
"""


def definitions(
    campaign: CampaignName = "support_reply",
    campaigns: Annotated[int, typer.Option(min=1, help="Copies of the campaign.")] = 20,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds of each.")] = 5,
    times: Annotated[int, typer.Option(min=1, help="How often each is timed.")] = 5,
) -> None:
    """Time to load the definitions of many campaigns, compared with `import dagster` alone."""
    with tempfile.TemporaryDirectory() as folder:
        env = write_campaigns(find_campaign(campaign).folder, Path(folder), campaigns, rounds)
        found: list[Ended] = []
        for turn in range(times):
            found.append(fresh("-c", LOAD, env=env))
            say(f"turn {turn + 1} of {times}: {found[-1].output['loaded']:.2f} s")
    table = Table(title=f"{campaigns} campaigns × {rounds} rounds: {found[0].output['assets']} assets")
    for column in ("CPU seconds", "least", "median", "most"):
        table.add_column(column, justify="left" if column == "CPU seconds" else "right")
    for name, key in (("import dagster", "dagster"), ("with the definitions", "loaded")):
        seconds = [one.output[key] for one in found]
        table.add_row(name, *(f"{of(seconds):.2f}" for of in (min, statistics.median, max)))
    console.out.print(table)
    ratio = statistics.median(one.output["loaded"] / one.output["dagster"] for one in found)
    what = "loading the definitions / `import dagster`, median"
    conclude([Goal(what, f"{ratio:.2f}", f"≤ {RATIO_GOAL:.1f}", ratio <= RATIO_GOAL)])


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
