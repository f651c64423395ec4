"""Exporting a model: a folder that transformers and vLLM load as it is, with its model card."""

import shutil
from pathlib import Path

from filelock import FileLock

from rft_pipeline.campaign import Campaign
from rft_pipeline.errors import ConfigError, StoreError
from rft_pipeline.models.merging import write_whole
from rft_pipeline.pipeline.card import card_facts
from rft_pipeline.pipeline.champion import checkpoint_of
from rft_pipeline.report.card import render_card
from rft_pipeline.store import Home, Record, RecordStore, champions

CARD = "README.md"


def export(campaign: Campaign, home: Home, round_: int | None, target: Path) -> Record:
    """Write the champion, or a round, into `target`, an adapter merged; returns the checkpoint's record.

    Raises `ConfigError` for a folder that holds something, `StoreError` when there is nothing to export.
    """
    _refuse_filled(target)
    records = RecordStore(home.store)
    champion = champions.champion(home.root, campaign.name)
    if round_ is None:
        if champion is None:
            raise StoreError(
                f"{campaign.name} has no champion; `rft run {campaign.name}` promotes a round that earns it, "
                f"`rft promote {campaign.name}` one that a person went back from, "
                "or name one: --round N"
            )
        checkpoint = records.at(champion.record)
        if checkpoint is None:
            raise StoreError(
                f"{campaign.name}: the champion's record {champion.record} is gone; `rft verify` says more"
            )
    else:
        checkpoint = checkpoint_of(campaign, home, round_)
    if champion is not None and champion.content_hash == checkpoint.content_hash:
        promotion = champions.promotion_of(champions.history(home.root, campaign.name), champion)
        report, why, forced = records.at(promotion.report), promotion.why, promotion.forced
    else:
        report = records.current(f"{campaign.name}/round_{round_}/eval_reports")
        why, forced = "It is not the champion of its campaign: exported by its round.", False
    facts = card_facts(campaign, home, checkpoint, report, why, forced=forced)
    with FileLock(home.root / "exporting.lock"):
        _write(checkpoint.path("checkpoint"), render_card(facts), target.resolve())
    return checkpoint


def _refuse_filled(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target}: holds something already; name a new or empty folder")


def _write(weights: Path, card: str, target: Path) -> None:
    """All or nothing: what a killed export left is next to the target, and the next one begins by removing it.

    Call while no other process exports.
    """
    _refuse_filled(target)
    beside = target.with_name(f".{target.name}.exporting")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        write_whole(weights, beside)
        (beside / CARD).write_text(card, encoding="utf-8")
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
