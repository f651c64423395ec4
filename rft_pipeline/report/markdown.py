"""Markdown that a browser renders: escapes untrusted texts, and writes tables."""

import re
from collections.abc import Iterable, Sequence

_MARKUP = re.compile(r"[\\`*_\[\]<>&~|$#!]")
_LINK = re.compile(r"(?i)(://|\bwww(?=\.)|@)")
_SPACE = re.compile(r"\s+")


def plain(text: str) -> str:
    """The text on one line, escaped so that no part of it is rendered as markup.

    A zero-width space breaks addresses, which renderers would turn into links.
    """
    return _LINK.sub("\\1\N{ZERO WIDTH SPACE}", _MARKUP.sub(r"\\\g<0>", _SPACE.sub(" ", text)))


def table_of(rows: Iterable[Sequence[str]], columns: Sequence[str]) -> str:
    """A table of texts that are ours or escaped."""
    head = [" | ".join(columns), " | ".join("---" for _ in columns)]
    return "\n".join(f"| {line} |" for line in [*head, *(" | ".join(row) for row in rows)])
