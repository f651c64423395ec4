"""Remote: how long does a round in generations take with judges behind a server that answers after a second?

A round of a copy of the campaign, with criteria that a local server judges and one rule, is made three times, each in a
new home: criteria one after the other, all criteria at once, and with the next generation sampled meanwhile.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import typer
import yaml
from rich.table import Table

from benchmarks.common import CampaignName, Goal, ModelName, conclude, find_campaign, run, say
from benchmarks.http_server import serving
from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.cli import console
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.stages.judging import judging
from rft_pipeline.store import Home, Record

TOGETHER_GOAL, AHEAD_GOAL = 0.9, 0.85
"""Most of the time of criteria one after the other that the others may take."""
ALONE, TOGETHER, AHEAD = (
    "one criterion after the other",
    "all criteria at once",
    "the next generation sampled meanwhile",
)
NEEDED = ("rollouts", "judge_scores", "checkpoints")


def remote(
    campaign: CampaignName = "support_reply",
    model: ModelName = "embedded",
    generations: Annotated[int, typer.Option(min=2)] = 8,
    prompts: Annotated[int, typer.Option(min=1, help="Prompts a generation.")] = 1,
    group_size: Annotated[int, typer.Option(min=2, help="Rollouts a prompt.")] = 4,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens a rollout.")] = 24,
    criteria: Annotated[int, typer.Option(min=1, help="Criteria that the server judges.")] = 3,
    delay: Annotated[float, typer.Option(min=0, help="Seconds the server takes for an answer.")] = 1.0,
) -> None:
    """Seconds of a round with served judges, three ways."""
    loaded = find_campaign(campaign)
    settings: dict[str, Any] = {
        "rounds": 1,
        "policy": {**loaded.policy.model_dump(mode="json"), "model": model},
        "rollouts": {
            "prompts_per_round": generations * prompts,
            "group_size": group_size,
            "sampling": {"max_new_tokens": max_new_tokens},
        },
        "training": {"batch_size": prompts * group_size, "runtime": {"micro_batch_size": 4}},
        "reward": {"min_group_share": 0},
    }
    found: dict[str, list[Record]] = {}
    seconds: dict[str, float] = {}
    with serving(delay) as url:
        settings["judges"] = {"remote": {"model": "served:judge", "server": {"url": url}}}
        with tempfile.TemporaryDirectory() as folder:
            say("one generation to warm up")
            single = {**settings, "rollouts": {**settings["rollouts"], "prompts_per_round": prompts}}
            timed_round(loaded, Path(folder), single, criteria)
        for way in (ALONE, TOGETHER, AHEAD):
            with tempfile.TemporaryDirectory() as folder, one_by_one() if way == ALONE else nullcontext():
                settings["training"] |= {"generations_ahead": int(way == AHEAD)}
                seconds[way], found[way] = timed_round(loaded, Path(folder), settings, criteria)
            say(f"{way}: {seconds[way]:.1f} s")
    calls = f"{criteria} served criteria, {delay:g} s a call"
    caption = f"{generations} generations of {prompts} × {group_size} rollouts × {max_new_tokens} tokens; {calls}"
    console.out.print(as_table(caption, seconds, found))
    together, ahead = seconds[TOGETHER] / seconds[ALONE], seconds[AHEAD] / seconds[ALONE]
    conclude(
        [
            Goal(TOGETHER, f"{together:.2f}", f"≤ {TOGETHER_GOAL}", together <= TOGETHER_GOAL),
            Goal(AHEAD, f"{ahead:.2f}", f"≤ {AHEAD_GOAL}", ahead <= AHEAD_GOAL),
        ]
    )


def timed_round(campaign: Campaign, root: Path, settings: dict[str, Any], criteria: int) -> tuple[float, list[Record]]:
    """Seconds of the round's stages up to the checkpoint, and their records."""
    home = Home(root / "home", root / "data")
    folder = shutil.copytree(campaign.folder, home.data / campaign.name)
    home.root.mkdir(parents=True)
    home.models.symlink_to(Home.find().models)
    path = folder / "campaign.yaml"
    content = {**yaml.safe_load(path.read_text(encoding="utf-8")), **settings}
    for key in ("anchors", "audit", "alarms"):
        content.pop(key, None)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    judges = [
        {"protocol": "binary", "by": "remote", "question": f"Is point {number} of the guide followed?"}
        for number in range(1, criteria + 1)
    ]
    rule = {"protocol": "rule", "rule": {"name": "length", "min_words": 40}}
    rubric = {"criteria": [{"name": f"c{i}", "judge": judge} for i, judge in enumerate([*judges, rule], 1)]}
    (folder / "rubric.yaml").write_text(yaml.safe_dump(rubric), encoding="utf-8")
    pipeline, changed = Pipeline(home), load_campaign(folder)
    for name in ("prompts", "rubric", "policy"):
        pipeline.run(changed, name)
    began = time.perf_counter()
    records = pipeline.run_together(changed, "round_1/checkpoints")
    return time.perf_counter() - began, [records[f"round_1/{stage}"] for stage in NEEDED]


@contextmanager
def one_by_one() -> Iterator[None]:
    """Every judge is taken for a local one."""
    with mock.patch("rft_pipeline.stages.job.judging", lambda **how: judging(**{**how, "served": ()})):
        yield


def as_table(caption: str, seconds: dict[str, float], found: dict[str, list[Record]]) -> Table:
    table = Table(title="A round with judges behind a server", caption=caption)
    table.add_column("")
    for column in ("seconds", "ratio", "sampling", "judging", "training"):
        table.add_column(column, justify="right")
    for way, took in seconds.items():
        shares = [f"{sum(spent['seconds'] for spent in record.spent.values()):.1f}" for record in found[way]]
        table.add_row(way, f"{took:.1f}", f"{took / seconds[ALONE]:.2f}", *shares)
    return table


if __name__ == "__main__":
    run(remote)
