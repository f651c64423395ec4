"""What is wrong with a text that is not YAML, in words for people who do not know YAML's terms."""

import re

import yaml

QUOTE_IT = "put the whole text in quotes ('…', with '' for a ' inside)"
_KEY = re.compile(r":(\s|$)")


def in_words(text: str, error: Exception) -> str:
    """A parser's error in one line: its place in `text`, and what to change."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    mark, problem = error.problem_mark, error.problem or ""
    lines = text.splitlines() or [""]
    line = lines[mark.line] if mark.line < len(lines) else ""
    opened = "" if error.context_mark is None else f" in line {error.context_mark.line + 1}"
    context = "" if error.context is None else f" {error.context}"
    said = _hint(problem + context, lines[: mark.line], line, mark.column, opened) or f"{problem}{context}"
    return f"line {mark.line + 1}, column {mark.column + 1}: {said}"


def _hint(problem: str, above: list[str], line: str, column: int, opened: str) -> str | None:
    before = line[:column]
    if "\t" in line[: len(line) - len(line.lstrip())] or line[column : column + 1] == "\t":
        return "a tab; indent with spaces"
    if problem.startswith(("found character that cannot start", "could not determine a constructor")):
        return f"a value cannot begin with {line[column : column + 1]}: {QUOTE_IT}"
    if problem.startswith("found undefined alias"):
        return f"a value cannot begin with *: {QUOTE_IT}"
    if problem.startswith("mapping values are not allowed"):
        return f"a second colon in one line: {QUOTE_IT}" if _KEY.search(before) else _wrong_above(above)
    if problem.startswith("did not find expected ','") or "while parsing a flow" in problem:
        return f"the {{ or [ that was opened{opened} is not closed, or a comma is missing"
    if problem.startswith("found unexpected end of stream"):
        return f"the quote that was opened{opened} is not closed"
    if problem.startswith("did not find expected"):
        return f"text after a closing quote, }} or ]: {QUOTE_IT}" if before.strip() else _INDENTED
    return None


_INDENTED = "wrong indentation: the keys of one block, and the - of one list, begin in the same column"


def _wrong_above(above: list[str]) -> str:
    """Why a line that is right by itself cannot stand below these."""
    filled = [(number, each) for number, each in enumerate(above, start=1) if each.strip()]
    if filled and not _KEY.search(filled[-1][1]):
        return f"line {filled[-1][0]} has no key: write `key: value`, with a space after the colon"
    return _INDENTED
