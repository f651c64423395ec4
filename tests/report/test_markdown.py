"""Texts of models in Markdown: nothing in them is rendered."""

import html
import re

import polars as pl
import pytest
from markdown_it import MarkdownIt

from assets.tables import markdown
from rft_pipeline.report.markdown import plain


@pytest.mark.parametrize(
    "text",
    [
        "![x](https://evil.example/pixel.png)",
        "[click](javascript:alert(1))",
        "<img src=x onerror=alert(1)>",
        "see https://evil.example and www.evil.example or a@evil.example",
        "**bold** _it_ ~~gone~~ `code` # heading | cell",
        "&lt;b&gt; &#33;",
        "a\n\n# heading\n---\n- item",
    ],
)
def test_no_markup_of_a_text_is_left(text: str) -> None:
    found = plain(text)
    rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(found)
    one_line = " ".join(text.split())
    assert html.unescape(rendered.replace("\u200b", "")) == f"<p>{one_line}</p>\n"
    assert not re.search(r"(?i)<(?!/?p>)|://\S|\bwww\.|@\w", rendered.replace("\u200b", " "))


def test_a_backslash_does_not_free_what_follows_it() -> None:
    assert plain("\\![x](y)") == "\\\\\\!\\[x\\](y)"


def test_a_table_of_rollouts_shows_a_completion_as_it_is() -> None:
    table = markdown(pl.DataFrame({"completion": ["![x](https://evil.example) | 1"]})).md_str
    assert table is not None
    assert table.splitlines()[2] == "| \\!\\[x\\](https://\u200bevil.example) \\| 1 |"
