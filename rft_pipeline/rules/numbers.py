r"""Reading numbers as people and models write them, for `numeric_answer` and `json_field`.

It reads digits of any script with groups of three (by comma or point, apostrophe, no-break or thin space; an ordinary
space separates two numbers), signs (also − and –), currency signs, percent, fractions (3/4, 1 3/4, ½, \frac{3}{4}),
powers (2^10, 10⁻³) and scientific notation (1.5e3, 1.5 × 10^3). It does not read numbers in words.
"""

import decimal
import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any, Literal, NamedTuple

DecimalMark = Literal[".", ","]

EXACT = decimal.Context(prec=60, Emax=999_999, Emin=-999_999, traps=[])
"""Nothing raises: a value out of range becomes infinite or not a number."""
_HUNDREDTH = Decimal("0.01")
_CURRENCIES = "$€£¥"
_SPACES = "\u00a0\u2009\u202f"
_BODY = rf"(?:\d(?:[.,'’{_SPACES}]?\d)*+|(?<!\.)\.\d++)"
_INTEGER = r"[-+−–]?\d++"
_NUMBER = re.compile(
    rf"""
    (?<![A-Za-z\d])(?<![A-Za-z][\^_])(?<![A-Za-z][\^_]\{{)  # the 2 of m2 and m^2 is no number
    (?P<before>(?:\\sqrt|√)\s?\{{?\s?)?
    (?:(?<![\w)\]}}])(?P<sign>[-+−–]))?   # the dash of 10-20 is no sign
    [{_CURRENCIES}]?
    (?:
        (?<!\d/)(?:(?P<whole>\d{{1,7}}+)\s)?(?P<over>{_BODY})\s?/\s?(?P<under>{_BODY})(?!/?\d)  # nor a date
      |
        (?P<body>{_BODY})
        (?:
            [eE](?P<exponent>{_INTEGER})(?![A-Za-z\d])
          | \s?(?:×|x|\*|·|\\times|\\cdot)\s?10\s?(?:\^|\*\*)\s?\{{?(?P<tens>{_INTEGER})\}}?
          | \s?(?:\^|\*\*)\s?\{{?(?P<power>{_INTEGER})\}}?
        )?
    )
    (?P<percent>\s?(?:%|percent\b|per\ cent\b))?
    (?P<behind>\s?(?:\\sqrt\b|√|\\pi\b|π)(?:\s?\{{[^{{}}]*\}}|\s?\d+)?)?
    """,
    re.VERBOSE,
)
_LATEX = {"{,}": ",", r"\,": "\u2009", r"\!": "", r"\$": "$", r"\%": "%"}
_FRAC = re.compile(r"\\[dt]?frac(?:(\d)(\d)|\{\s*([^{}]{1,40})\s*\}\s?\{\s*([^{}]{1,40})\s*\})")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|operatorname)\s?\{([^{}]{0,200})\}")
_CALCULATES = re.compile(
    r"\\[dt]?frac|\\(?:sqrt|log|ln|exp|sin|cos|tan|sum|int|prod|lim|binom|pm|mp|cup|cap|infty)\b|[A-Za-z)\]}]\s?/\s?\d"
)
_BEFORE_POWER = re.compile(r"\s+(?=[\^_])")
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_SUPERSCRIPT = re.compile("(?<=[0-9])[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")


class Number(NamedTuple):
    """A number found in a text."""

    text: str
    value: Decimal | None
    """None when it is written in another style, e.g. 1.234,50 where the point is the decimal mark."""
    percent: bool
    expression: bool = False
    """Whether it is a root, or a multiple of a root or of π."""


def numbers(text: str, mark: DecimalMark) -> Iterator[Number]:
    """The numbers of a text, in order."""
    for found in _NUMBER.finditer(_plain(text)):
        value = _value(found, mark)
        sign = -1 if found["sign"] in ("-", "−", "–") else 1
        finite = None if value is None or not value.is_finite() else EXACT.multiply(Decimal(sign), value)
        is_expression = found["before"] is not None or found["behind"] is not None
        value_read = None if is_expression else finite
        yield Number(found.group().strip(), value_read, found["percent"] is not None, is_expression)


def number_of(value: Any, mark: DecimalMark) -> Number | None:
    """A number given as data: a number, or a text that is only a number; None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        exact = EXACT.create_decimal(value if isinstance(value, int) else repr(value))
        return Number(f"{exact:g}", exact, False) if exact.is_finite() else None
    found = list(numbers(value, mark)) if isinstance(value, str) else []
    if len(found) != 1 or found[0].value is None:
        return None
    alone = found[0].text.strip(_CURRENCIES) == _plain(value).strip(_CURRENCIES + " \n")
    return found[0] if alone else None


def only_number(text: str, mark: DecimalMark) -> Number | None:
    r"""The number of a text that holds one number and at most a unit after its last equals sign; else None.

    More than one number, or a command of LaTeX that calculates (\frac{x}{2}, \log 5), make it an expression.
    """
    text = text.rpartition("=")[2]
    found = list(numbers(text, mark))
    if not found:
        return None
    if len(found) > 1 or _CALCULATES.search(_plain(text)):
        return Number(text.strip(), None, False, expression=True)
    return found[0]


def agree(found: Number, wanted: Number, relative: float, absolute: float) -> bool:
    """Whether two numbers differ by at most `relative` times `wanted`, or at most `absolute`: the wider one counts.

    A percent sign on one side only is read both ways: 50% agrees with 50 and with 0.5. A number without a value agrees
    with none.
    """
    if found.value is None or wanted.value is None:
        return False
    pairs = [(found.value, wanted.value)]
    if found.percent and not wanted.percent:
        pairs.append((EXACT.multiply(found.value, _HUNDREDTH), wanted.value))
    elif wanted.percent and not found.percent:
        pairs.append((found.value, EXACT.multiply(wanted.value, _HUNDREDTH)))
    return any(_close(mine, theirs, relative, absolute) for mine, theirs in pairs)


def _close(mine: Decimal, wanted: Decimal, relative: float, absolute: float) -> bool:
    allowed = EXACT.multiply(Decimal(repr(relative)), wanted.copy_abs())
    return EXACT.subtract(mine, wanted).copy_abs() <= max(allowed, Decimal(repr(absolute)))


def _plain(text: str) -> str:
    r"""The text with LaTeX and one-character fractions and powers spelled in plain characters."""
    text = _BEFORE_POWER.sub("", _TEXT.sub(r" \1 ", text))
    for written, meant in _LATEX.items():
        text = text.replace(written, meant)
    text = _FRAC.sub(lambda found: _apart(found, "/".join(part.strip() for part in found.groups() if part)), text)
    text = _VULGAR.sub(lambda found: _apart(found, _compatible(found).replace("⁄", "/")), text)
    return _SUPERSCRIPT.sub(lambda found: f"^{_compatible(found)}", text)


def _compatible(found: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", found.group())


def _apart(found: re.Match[str], fraction: str) -> str:
    """A fraction after a digit is the rest of a mixed number."""
    before = found.string[found.start() - 1 : found.start()]
    return f" {fraction}" if before.isdigit() else fraction


def _value(found: re.Match[str], mark: DecimalMark) -> Decimal | None:
    if found["over"]:
        over, under = _decimal(found["over"], mark), _decimal(found["under"], mark)
        if over is None or under is None:
            return None
        return EXACT.add(Decimal(found["whole"] or 0), EXACT.divide(over, under))
    body = _decimal(found["body"], mark)
    if body is None:
        return None
    if tens := found["exponent"] or found["tens"]:
        return EXACT.multiply(body, EXACT.power(Decimal(10), _integer(tens)))
    return EXACT.power(body, _integer(found["power"])) if found["power"] else body


def _integer(text: str) -> int:
    """An exponent; more than eight characters are always out of range."""
    return int(text[:9].replace("−", "-").replace("–", "-"))


def _decimal(text: str, mark: DecimalMark) -> Decimal | None:
    """The digits of a number with its decimal mark and groups of three; None when they are set another way."""
    if not _style(mark).fullmatch(text):
        return None
    kept = "".join("." if char == mark else char for char in text if char.isdigit() or char == mark)
    return EXACT.create_decimal(kept)


@cache
def _style(mark: DecimalMark) -> re.Pattern[str]:
    group = rf"[{'.' if mark == ',' else ','}'’{_SPACES}]"
    end = rf"(?:{re.escape(mark)}\d+)"
    return re.compile(rf"\d+{end}?|\d{{1,3}}(?P<group>{group})\d{{3}}(?:(?P=group)\d{{3}})*{end}?|{end}")
