"""Tables on narrow screens: a row becomes a block of lines, each with the name of its column."""

import re

_TABLE = re.compile(r'<table class="[^"]*\bstack">(.*?)</thead>(.*?)</table>', re.DOTALL)
_HEAD = re.compile(r"<th\b[^>]*>(.*?)</th>", re.DOTALL)
_ROW = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
_CELL = re.compile(r"<t[hd]\b([^>]*)>")


def wrong_labels(page: str) -> list[tuple[str, str]]:
    """The names of columns that a row's cells do not have, with what they have, in the tables of a page.

    The first cell of a row is its title, and cells of the class `axis` are not shown.
    """
    found, tables = [], _TABLE.findall(page)
    assert tables
    for head, body in tables:
        names = [" ".join(re.sub(r"<[^>]+>", " ", name).split()) for name in _HEAD.findall(head)]
        for row in _ROW.findall(body):
            place = 0
            for cell in _CELL.findall(row):
                label = re.search(r'data-label="([^"]*)"', cell)
                if place and "axis" not in cell and (label is None or label[1].strip() != names[place]):
                    found.append((names[place], cell))
                span = re.search(r'colspan="(\d+)"', cell)
                place += int(span[1]) if span else 1
            assert place == len(names)
    return found
