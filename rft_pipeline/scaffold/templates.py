"""The campaigns that `rft new` can copy."""

import re
from pathlib import Path

import rft_pipeline
from rft_pipeline.errors import ConfigError
from rft_pipeline.store import Home
from rft_pipeline.store.home import checkout
from rft_pipeline.strict import did_you_mean

SHIPPED = Path(rft_pipeline.__file__).parent / "example_campaigns"
"""Where a wheel holds the campaigns of `data`."""


def template_folder(home: Home, like: str) -> Path:
    """The folder of the campaign to copy: among the user's, in the checkout, or in the installed package.

    Raises `ConfigError` with the folders that were searched and the campaigns that they have.
    """
    folders = _searched(home)
    for folder in folders:
        if re.fullmatch(r"[a-z][a-z0-9_]*", like) and (folder / like / "campaign.yaml").is_file():
            return folder / like
    there = templates(home)
    searched = ", ".join(map(str, folders))
    near = did_you_mean(like, there)
    names = ", ".join(there) or "none"
    raise ConfigError(f"no campaign {like!r}{near} to copy; searched {searched}; there are: {names}")


def templates(home: Home) -> list[str]:
    """The names of the campaigns that can be copied."""
    return sorted({path.parent.name for folder in _searched(home) for path in folder.glob("*/campaign.yaml")})


def _searched(home: Home) -> list[Path]:
    top = checkout()
    return list(dict.fromkeys([home.data, *([] if top is None else [top / "data"]), SHIPPED]))
