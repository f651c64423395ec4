"""The continuation of an edit cycle: where it starts, how long it trains, and the stored rollouts that it trains on
first."""

from dataclasses import dataclass
from typing import Any

BASE, START = "base", "start"
"""The names of a campaign's first policy: the model in campaign.yaml, and the trained weights that a cycle starts
from."""


@dataclass(frozen=True)
class Pinned:
    """A record that a cycle names."""

    address: str
    content_hash: str


@dataclass(frozen=True)
class Continuation:
    """What an edit cycle continues. It is no setting of campaign.yaml; the rollouts of the cycle are made from it."""

    start: Pinned
    """The checkpoint that the cycle starts from."""
    generations: int
    """How many generations it samples."""
    taken: Pinned | None
    """The rollouts record of the training that made `start`. Its last `generations` generations are the first training
    steps. None if there is none, or if it was sampled on other prompts."""

    @property
    def identity(self) -> dict[str, Any]:
        """What changes results, as plain data."""
        taken = None if self.taken is None else self.taken.content_hash
        return {"start": self.start.content_hash, "generations": self.generations, "taken": taken}
