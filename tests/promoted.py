"""A champion, as a promotion leaves it."""

import json

from rft_pipeline.store import Home, RecordStore


def promote(key: str) -> str:
    """Make the checkpoint in force of a stage its campaign's champion; the address of its record."""
    home = Home.find()
    record = RecordStore(home.store).current(key)
    assert record is not None
    path = home.root / "champions" / f"{key.partition('/')[0]}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"champion": record.address, "history": []}), encoding="utf-8")
    return record.address
