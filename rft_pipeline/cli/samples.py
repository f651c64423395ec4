"""Replies side by side, for `rft report --samples`: held-out prompts chosen by seed, and what each policy answers."""

from typing import Any, NamedTuple

from rich.markup import escape

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import readable_prompt
from rft_pipeline.cli.console import out, table
from rft_pipeline.cli.words import plain, printable
from rft_pipeline.errors import StoreError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.labels.policies import CHAMPION, STARTS, PolicyReplies, policies
from rft_pipeline.report import markdown
from rft_pipeline.store import Home

LONGEST = 400
"""Characters of a text in a table; `--json` has all of them."""
EMPTY = "(empty)"


class Samples(NamedTuple):
    """Replies of some policies to the same prompts."""

    policies: tuple[str, ...]
    """As people read them: `base`, `warm start`, `round 1`."""
    rows: list[tuple[str, ...]]
    """The prompt, then a reply of each policy. Untrusted texts."""

    @property
    def plain(self) -> list[dict[str, Any]]:
        """As JSON holds it."""
        return [
            {"prompt": prompt, "replies": dict(zip(self.policies, replies, strict=True))}
            for prompt, *replies in self.rows
        ]


def samples(campaign: Campaign, home: Home, count: int, seed: int | None = None) -> Samples:
    """The first reply of base, of a cycle's start, of the warm start and of the champion (the newest round without one)
    to `count` held-out prompts, in an order shuffled by `seed`, by default the campaign's.

    Raises `StoreError` without an eval report.
    """
    shown = _shown(campaign, home)
    messages = dict(shown[0].rows.select("prompt_id", "messages").iter_rows())
    replies = [dict(each.rows.filter(sample_index=0).select("prompt_id", "completion").iter_rows()) for each in shown]
    order = sorted(messages, key=lambda name: seed_of(campaign.seed if seed is None else seed, "samples", name))
    rows = [(readable_prompt(messages[name]), *(each[name] for each in replies)) for name in order[:count]]
    return Samples(tuple(each.name for each in shown), rows)


def _shown(campaign: Campaign, home: Home) -> list[PolicyReplies]:
    found = policies(campaign, home)
    if not found:
        raise StoreError(f"campaign {campaign.name} has no eval report yet; run `rft run {campaign.name}`")
    starts = [found[name] for name in reversed(STARTS) if name in found]
    last = found.get(CHAMPION)
    if last is None or last.policy in {each.policy for each in starts}:
        last = [each for name, each in found.items() if name.startswith("round-")][-1]
    return [*starts, last]


def show(found: Samples) -> None:
    """The table for a terminal; texts are cut and printable."""
    side_by_side = table()
    for heading in ("prompt", *found.policies):
        side_by_side.add_column(heading, overflow="fold", ratio=2 if heading == "prompt" else 1)
    for row in found.rows:
        side_by_side.add_row(*(escape(plain(text, LONGEST)) or EMPTY for text in row), end_section=True)
    side_by_side.padding = (0, 1, 1, 1)
    out.print(side_by_side)


def as_markdown(found: Samples) -> str:
    """A table in Markdown, a row for each prompt. No text is rendered as markup."""
    rows = [[markdown.plain(printable(text)).strip() or EMPTY for text in row] for row in found.rows]
    return markdown.table_of(rows, ("prompt", *found.policies))
