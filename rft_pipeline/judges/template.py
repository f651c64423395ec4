"""Filling a judge's template, in one pass: nothing that is filled in is read as a slot again."""

import re
from collections.abc import Mapping

from rft_pipeline.engines.base import Messages

_SLOT = re.compile(r"\{(\w+)\}")
_SYSTEM = "---\n"
"""A line of three dashes ends the system message, where a template has one."""


def fill(template: str, values: Mapping[str, str]) -> Messages:
    """The messages of a filled template. A slot that has no value stays as it stands."""
    system, found, user = template.partition(_SYSTEM)
    parts = (("system", system), ("user", user)) if found else (("user", system),)
    return tuple((role, _SLOT.sub(lambda slot: values.get(slot[1], slot[0]), text).strip()) for role, text in parts)
