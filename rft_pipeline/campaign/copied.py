"""Marks in the files of a copied campaign: texts that were written for the task of the campaign it was copied from."""

import re
from collections import defaultdict
from pathlib import Path

_MARK = re.compile(r"# Written for (\w+): change it\.")


def mark(task: str) -> str:
    """The comment above such a text."""
    return f"Written for {task}: change it."


def marked_lines(path: Path) -> dict[str, list[int]]:
    """Task → the lines of a YAML file, from 1, that mark a text written for it."""
    found = defaultdict(list)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if marked := _MARK.search(line):
            found[marked[1]].append(number)
    return dict(found)
