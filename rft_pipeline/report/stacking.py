"""Tables on narrow screens: a row becomes a block of lines, each with the name of its column."""

import re

_TABLE = re.compile(r'<table(?: class="([^"]*)")?>(.*?)</table>', re.DOTALL)
_HEAD = re.compile(r"<th\b[^>]*>(.*?)</th>", re.DOTALL)
_ROW = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
_CELL = re.compile(r"<t[hd]\b([^>]*)>")
_SPAN = re.compile(r'colspan="(\d+)"')
_TAG = re.compile(r"<[^>]+>")
MATRICES = ("strip", "matrix")
"""Classes of tables that stay tables, because their columns are compared with one another."""


def stackable(page: str) -> str:
    """The page with the class `stack` on its tables, and the name of its column in every cell but a row's first.

    Texts in a page are escaped, so every tag in it is the page's own.
    """
    return _TABLE.sub(_stackable, page)


def _stackable(table: re.Match[str]) -> str:
    classes, content = table[1] or "", table[2]
    if set(classes.split()) & set(MATRICES):
        return table[0]
    head, _, body = content.partition("</thead>")
    names = [" ".join(_TAG.sub(" ", name).split()) for name in _HEAD.findall(head)]
    rows = _ROW.sub(lambda row: _named(row[0], names), body)
    return f'<table class="{" ".join([*classes.split(), "stack"])}">{head}</thead>{rows}</table>'


def _named(row: str, names: list[str]) -> str:
    place = 0

    def cell(tag: re.Match[str]) -> str:
        nonlocal place
        here, span = place, _SPAN.search(tag[1])
        place += int(span[1]) if span else 1
        return f'{tag[0][:-1]} data-label="{names[here]}">' if here else tag[0]

    return _CELL.sub(cell, row)
