"""Small logs: one file of rows, and prompts as a reader would give them."""

import json
from pathlib import Path
from typing import Any

from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.prompts.logs import Logged


def write_logs(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def logged(text: str, opted_out: bool = False, **fields: Any) -> Logged:
    messages = [{"role": "user", "content": text}]
    return Logged(fingerprint(messages), f"row:{text[:9]}", messages, fields, opted_out)


def said(row: dict[str, Any]) -> str:
    """The last message of a drawn row."""
    text = row["prompt"][-1]["content"]
    assert isinstance(text, str)
    return text
