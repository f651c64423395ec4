"""Exporting a model: a folder that transformers and vLLM can load, with its model card."""

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
    """Write the champion, or a round, into `target`; an adapter is merged. Returns the checkpoint's record.

    Raises `ConfigError` for a folder that is not empty, `StoreError` when there is nothing to export.
    """
    _refuse_not_empty(target)
    records = RecordStore(home.store)
    champion = champions.champion(home.root, campaign.name)
    if round_ is None:
        if champion is None:
            raise StoreError(
                f"{campaign.name} has no champion; `rft run {campaign.name}` promotes a round that passes, "
                f"`rft promote {campaign.name}` one that a person rolled back from, --round N exports any round"
            )
        checkpoint = records.at(champion.record)
        if checkpoint is None:
            raise StoreError(
                f"{campaign.name}: the champion's record {champion.record} is gone; `rft verify` says what to do"
            )
    else:
        checkpoint = checkpoint_of(campaign, home, round_)
    if champion is not None and champion.content_hash == checkpoint.content_hash:
        promotion = champions.promotion_of(champions.history(home.root, campaign.name), champion)
        report, why, forced = records.at(promotion.report), promotion.why, promotion.forced
    else:
        report = records.current(f"{campaign.name}/round_{round_}/eval_reports")
        why, forced = "This round is not the champion of its campaign.", False
    facts = card_facts(campaign, home, checkpoint, report, why, forced=forced)
    with FileLock(home.root / "exporting.lock"):
        _write(checkpoint.path("checkpoint"), render_card(facts), target.resolve())
    return checkpoint


def _refuse_not_empty(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target}: is not an empty folder; name a new or an empty one")


def _write(weights: Path, card: str, target: Path) -> None:
    """Write all or nothing; the next export removes what a killed one left next to the target.

    Call while no other process exports.
    """
    _refuse_not_empty(target)
    temporary = target.with_name(f".{target.name}.exporting")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        write_whole(weights, temporary)
        (temporary / CARD).write_text(card, encoding="utf-8")
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
