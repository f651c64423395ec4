"""Arguments and options that several commands have, and what they stand for."""

from typing import TYPE_CHECKING, Annotated

import typer

from rft_pipeline.errors import ConfigError
from rft_pipeline.store import Home

if TYPE_CHECKING:
    from rft_pipeline.campaign import Campaign


def _campaigns() -> list[str]:
    """For the completion of a shell."""
    return Home.find().campaigns()


Name = Annotated[
    str,
    typer.Argument(help="A folder in data/ with a campaign.yaml.", show_default=False, autocompletion=_campaigns),
]
MaybeName = Annotated[
    str | None,
    typer.Argument(help="One campaign; default: all.", show_default=False, autocompletion=_campaigns),
]
Start = Annotated[
    str | None,
    typer.Option(
        "--from", help="First round to make, e.g. round_2; earlier rounds are kept. Default: by on_rubric_change."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load(home: Home, campaign: str) -> "Campaign":
    """The campaign as its newest retraining cycle runs it."""
    from rft_pipeline.campaign.cycles import load_current

    return load_current(home, campaign)


def check_and_load(home: Home, campaign: str) -> "Campaign":
    """The campaign, after `rft check` found no error."""
    from rft_pipeline.check import check_campaign

    check_campaign(home.campaign_folder(campaign), home.models, home.store)
    return load(home, campaign)


def round_number(name: str | None) -> int | None:
    """`round_2` → 2."""
    if name is None:
        return None
    number = name.removeprefix("round_")
    if not number.isdecimal():
        raise ConfigError(f"--from {name}: must be round_1, round_2, …")
    return int(number)


def require_round(campaign: "Campaign", round_: int | None, option: str = "--round") -> None:
    """Raise `ConfigError` for a round that the campaign does not have."""
    if round_ is not None and round_ > campaign.rounds:
        raise ConfigError(
            f"{option} {round_}: {campaign.name} has rounds 1 to {campaign.rounds}; `rounds` in campaign.yaml sets this"
        )
