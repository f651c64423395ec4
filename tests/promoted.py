"""A champion, as a promotion leaves it."""

from rft_pipeline.store import Home, RecordStore, champions


def write_champion(key: str) -> str:
    """Make the checkpoint in force of a stage its campaign's champion; the address of its record."""
    home = Home.find()
    campaign, round_, _ = key.split("/")
    records = RecordStore(home.store)
    record, report = records.current(key), records.current(f"{campaign}/{round_}/eval_reports")
    assert record is not None
    assert report is not None
    new = champions.Champion(
        record=record.address,
        content_hash=record.content_hash,
        round=int(round_.removeprefix("round_")),
        evidence=report.content_hash,
        report=report.address,
        why="by hand",
    )
    with champions.locked(home.root, campaign) as known:
        champions.write(home.root, campaign, champions.promote(known, new))
    return record.address
