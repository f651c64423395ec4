"""Escapes untrusted texts for Markdown that a browser renders."""

import re

_MARKUP = re.compile(r"[\\`*_\[\]<>&~|$#!]")
_LINK = re.compile(r"(?i)(://|\bwww(?=\.)|@)")
_SPACE = re.compile(r"\s+")


def plain(text: str) -> str:
    """The text on one line, escaped so that no part of it is rendered as markup.

    A zero-width space breaks addresses, which renderers would turn into links.
    """
    return _LINK.sub("\\1\N{ZERO WIDTH SPACE}", _MARKUP.sub(r"\\\g<0>", _SPACE.sub(" ", text)))
