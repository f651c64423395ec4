"""`rft promote`, `rft rollback` and `rft export`: what they ask for before anything is moved."""

from pathlib import Path

from rft_pipeline.campaign import Campaign
from rft_pipeline.cli import show_promotion
from rft_pipeline.errors import ConfigError
from rft_pipeline.pipeline import champion as crowning
from rft_pipeline.pipeline.export import export
from rft_pipeline.store import Home, champions


def promote(home: Home, campaign: Campaign, round_: int | None, *, force: bool, why: str) -> None:
    """Raises `ConfigError` for a round there is not, and for force without a round or a reason."""
    if round_ is not None and round_ > campaign.rounds:
        raise ConfigError(f"--round {round_}: {campaign.name} has rounds 1 to {campaign.rounds}")
    if force and (round_ is None or not why.strip()):
        raise ConfigError(
            "--force promotes against the evidence: name the round (--round N) and the reason (--why ...)"
        )
    known = champions.champion(home.root, campaign.name)
    show_promotion.promoted(campaign.name, crowning.crown(campaign, home, round_, force=force, why=why), known)


def rollback(home: Home, campaign: Campaign, why: str) -> None:
    left, now = crowning.roll_back(campaign, home, why)
    show_promotion.rolled_back(campaign.name, left, now)


def export_to(home: Home, campaign: Campaign, target: Path, round_: int | None) -> None:
    if round_ is not None and round_ > campaign.rounds:
        raise ConfigError(f"--round {round_}: {campaign.name} has rounds 1 to {campaign.rounds}")
    record = export(campaign, home, round_, target)
    show_promotion.exported(record, target)
