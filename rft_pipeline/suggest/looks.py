"""How often suggestions compared a wording on held-out labels of one criterion.

`<home>/looks/suggestions/<campaign>.json` lists them by criterion, oldest first, each with the prompts of its held-out
half. Whoever looks often enough at the same labels finds a wording that is better on them by chance.
"""

from pathlib import Path

from rft_pipeline.promotion.looks import FOLDER, read_lists, write_lists

SuggestionLooks = dict[str, list[list[str]]]
"""By criterion, the held-out prompts of each suggestion."""


def path_of(root: Path, campaign: str) -> Path:
    """The file of a campaign's suggestions; `root` is the home."""
    return root / FOLDER / "suggestions" / f"{campaign}.json"


def read(root: Path, campaign: str) -> SuggestionLooks:
    """All looks of a campaign. Raises `StoreError` for a file that cannot be read."""
    return read_lists(
        path_of(root, campaign), lambda look: [str(each) for each in look], "restore it from a backup, or remove it"
    )


def count(root: Path, campaign: str, criterion: str, prompts: tuple[str, ...]) -> int:
    """Record a look at these prompts; returns how many earlier ones shared at least half of them."""
    looks = read(root, campaign)
    made = looks.setdefault(criterion, [])
    earlier = sum(2 * len(set(prompts) & set(look)) >= len(prompts) for look in made)
    made.append(list(prompts))
    write_lists(path_of(root, campaign), looks)
    return earlier
