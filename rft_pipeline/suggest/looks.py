"""How often suggestions compared a wording on held-out labels of one criterion.

`<home>/looks/suggestions/<campaign>.json` lists them by criterion, oldest first, each with the prompts of its held-out
half. Whoever looks often enough at the same labels finds a wording that is better on them by chance.
"""

import json
from pathlib import Path

from rft_pipeline.errors import StoreError
from rft_pipeline.promotion.looks import FOLDER
from rft_pipeline.store.shared import write_through

Looks = dict[str, list[list[str]]]
"""By criterion, the held-out prompts of each suggestion."""


def path_of(root: Path, campaign: str) -> Path:
    """The file of a campaign's suggestions; `root` is the home."""
    return root / FOLDER / "suggestions" / f"{campaign}.json"


def read(root: Path, campaign: str) -> Looks:
    """All looks of a campaign. Raises `StoreError` for a file that cannot be read."""
    path = path_of(root, campaign)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): [[str(each) for each in look] for look in made] for name, made in stored.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: cannot be read: {error}; restore it from a backup, or remove it") from error


def count(root: Path, campaign: str, criterion: str, prompts: tuple[str, ...]) -> int:
    """Record a look at these prompts; returns how many earlier ones shared at least half of them."""
    looks = read(root, campaign)
    made = looks.setdefault(criterion, [])
    earlier = sum(2 * len(set(prompts) & set(look)) >= len(prompts) for look in made)
    made.append(list(prompts))
    path = path_of(root, campaign)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_through(path, json.dumps(looks, indent=2) + "\n")
    return earlier
