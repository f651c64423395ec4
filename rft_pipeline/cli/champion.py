"""`rft promote`, `rft rollback` and `rft export`."""

from pathlib import Path
from typing import Annotated

import typer

from rft_pipeline.cli.options import Name, load, require_round
from rft_pipeline.errors import ConfigError
from rft_pipeline.store import Home, champions


def promote(
    campaign: Name,
    round_: Annotated[
        int | None, typer.Option("--round", min=1, help="Default: the round with the best lower bound.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote a round that failed a bound; needs --round and --why.")
    ] = False,
    why: Annotated[str, typer.Option(help="The reason; kept with the champion and in its model card.")] = "",
) -> None:
    """Make a round the campaign's champion. A round that failed a bound is refused, with its shortfall."""
    from rft_pipeline.cli import show_promotion
    from rft_pipeline.pipeline import champion as moving

    home = Home.find()
    loaded = load(home, campaign)
    require_round(loaded, round_)
    if force and (round_ is None or not why.strip()):
        raise ConfigError("--force promotes against the evidence: add the round (--round N) and the reason (--why ...)")
    before = champions.champion(home.root, campaign)
    show_promotion.promoted(campaign, moving.promote(loaded, home, round_, force=force, why=why), before)


def rollback(
    campaign: Name, why: Annotated[str, typer.Option(help="The reason; kept with the champion.")] = "rolled back"
) -> None:
    """Make the previous champion the champion again, or the base policy if there was none."""
    from rft_pipeline.cli import show_promotion
    from rft_pipeline.pipeline import champion as moving

    home = Home.find()
    left, now = moving.roll_back(load(home, campaign), home, why)
    show_promotion.rolled_back(campaign, left, now)


def export(
    campaign: Name,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
    round_: Annotated[int | None, typer.Option("--round", min=1, help="This round instead of the champion.")] = None,
) -> None:
    """Write the champion and its model card to a folder that transformers and `vllm serve` load."""
    from rft_pipeline.cli import show_promotion
    from rft_pipeline.pipeline.export import export as export_round

    home = Home.find()
    loaded = load(home, campaign)
    require_round(loaded, round_)
    show_promotion.exported(export_round(loaded, home, round_, directory), directory)
