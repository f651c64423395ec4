"""A campaign in generations that is run as `rft run` does: the reports of what stands, then what its cycle asks for."""

from pathlib import Path

from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.pipeline.continuing import load_and_begin, standing
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home, Record


def run_all(campaign: Campaign) -> dict[str, Record]:
    pipeline = Pipeline(Home.find())
    found: dict[str, Record] = {}
    for node in nodes(campaign):
        if node.name not in found:
            found |= pipeline.run_together(campaign, node.name)
    return found


def run_reports(folder: Path) -> None:
    """What a run makes before an edit cycle begins."""
    state = standing(load_campaign(folder), Home.find())
    for each in state.reports:
        if each.cause:
            Pipeline(Home.find()).run(state.campaign, each.node.name)


def run_again(folder: Path) -> dict[str, Record]:
    """Everything that a run makes after an edit."""
    run_reports(folder)
    return run_all(load_and_begin(Home.find(), folder.name))
