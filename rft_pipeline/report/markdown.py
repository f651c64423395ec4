"""Texts of models, prompts and people inside Markdown that a browser renders."""

import re

_MARKUP = re.compile(r"[\\`*_\[\]<>&~|$#!]")
_LINK = re.compile(r"(?i)(://|\bwww(?=\.)|@)")
_SPACE = re.compile(r"\s+")


def plain(text: str) -> str:
    """The text on one line, such that no part of it is rendered as an image, link, table, heading or other markup.

    Addresses are broken by a zero-width space: renderers turn them into links by themselves.
    """
    return _LINK.sub("\\1\N{ZERO WIDTH SPACE}", _MARKUP.sub(r"\\\g<0>", _SPACE.sub(" ", text)))
