"""Renders the templates of pages and of the model card: the environment, and how values are spelled.

Every value is escaped.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from rft_pipeline.report.markdown import plain
from rft_pipeline.report.timeline import cause_in_words

NOTHING = "\N{EN DASH}"


def rendered(template: str, **values: Any) -> str:
    """A page from its template."""
    return environment().get_template(template).render(values)


@cache
def environment() -> Environment:
    """The environment of all pages, with the templates that it compiled; it escapes every value."""
    found = Environment(
        loader=PackageLoader("rft_pipeline.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"number": number, "signed": signed, "percent": percent, "bounds": bounds, "words": words}
    found.filters |= {
        "plain": plain,
        "sentence": sentence,
        "marked": marked,
        "code": code,
        "minus": minus,
        "cause": cause_in_words,
    }
    found.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    return found


def number(value: float | None, digits: int = 3) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """With a sign, a real minus sign, and no sign before 0."""
    if value is None:
        return NOTHING
    text = f"{abs(value):.{digits}f}"
    if not float(text):
        return text
    return f"+{text}" if value > 0 else f"\N{MINUS SIGN}{text}"


def percent(share: float | None) -> str:
    if share is None:
        return NOTHING
    return "<1 %" if 0 < share < 0.005 else f"{share:.0%}".replace("%", " %")


def bounds(interval: Mapping[str, float | None] | None, plus: bool = False) -> str:
    """The bounds as `0.51 to 0.63`, with signs if they bound a change."""
    if interval is None or interval["lower95"] is None:
        return NOTHING
    spell = signed if plus else number
    return f"{spell(interval['lower95'])} to {spell(interval['upper95'])}"


def sentence(text: str) -> str:
    """With a capital letter, a full stop, and real minus signs."""
    return minus(f"{text[:1].upper()}{text[1:]}.")


def minus(text: str) -> str:
    """With real minus signs before numbers, as `signed` writes them."""
    return re.sub(r"(?<![\w.\-])-(?=\d)", "\N{MINUS SIGN}", text)


def marked(text: str, words: str) -> Markup:
    """The escaped text with `<mark>` around each occurrence of `words`, which is in lower case and has no punctuation.

    Case, and anything but letters and digits between two words, make no difference.
    """
    if not words:
        return escape(text)
    between = r"[\W_]*"
    parts = re.split(f"(?i)({between.join(map(re.escape, words.split()))})", text)
    return Markup("").join(Markup("<mark>{}</mark>").format(part) if i % 2 else part for i, part in enumerate(parts))


def code(text: str) -> Markup:
    """The escaped text with `<code>` in place of backticks."""
    return Markup(re.sub("`(.+?)`", r"<code>\1</code>", str(escape(text))))


def words(name: str) -> str:
    """A criterion's name for readers."""
    return name.replace("_", " ")
