"""Writes files as a whole, so that readers see the old or the new content and never a part."""

import os
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write `text` to `path` through a temporary file in the same folder."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
