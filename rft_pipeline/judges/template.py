"""Filling a judge's template in one pass: what is filled in is never read as a slot."""

import re
from collections.abc import Mapping

from rft_pipeline.engines.base import Messages

_SLOT = re.compile(r"\{(\w+)\}")
_SYSTEM = "---\n"
"""A line of three dashes ends the system message of a template that has one."""


def fill(template: str, values: Mapping[str, str]) -> Messages:
    """The messages of a filled template. A slot without a value is left as it is."""
    system, found, user = template.partition(_SYSTEM)
    parts = (("system", system), ("user", user)) if found else (("user", system),)
    return tuple((role, _SLOT.sub(lambda slot: values.get(slot[1], slot[0]), text).strip()) for role, text in parts)
