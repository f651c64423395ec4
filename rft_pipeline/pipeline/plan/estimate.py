"""How long the work will take: from the rates that the campaign's own records measured last."""

from collections.abc import Sequence
from dataclasses import dataclass

from rft_pipeline.campaign import Campaign
from rft_pipeline.stages.counting import Work
from rft_pipeline.store import Record

JUDGEMENTS_OF = "judgements of "


@dataclass(frozen=True)
class Rates:
    """Seconds a piece, by what is counted; and seconds a stage takes beside its pieces (loading models, writing)."""

    a_piece: dict[str, float]
    beside: dict[str, float]

    def seconds(self, stage: str, work: Work) -> float | None:
        """None when something has to be made that was never timed."""
        pieces = {what: count for what, count in work.make.items() if what != stage}
        if stage not in self.beside or not pieces.keys() <= self.a_piece.keys():
            return None
        return self.beside[stage] + sum(count * self.a_piece[what] for what, count in pieces.items())


def rates(campaign: Campaign, records: Sequence[Record]) -> Rates:
    """From records, oldest first: each rate as it was measured last, what stands beside at its longest.

    A criterion that was never judged takes as long as the slowest of its protocol.
    """
    a_piece: dict[str, float] = {}
    beside: dict[str, float] = {}
    protocols: dict[str, str] = {}
    for record in records:
        stage = record.payload["stage"]
        rest = record.seconds - sum(spent["seconds"] for spent in record.spent.values())
        beside[stage] = max(rest, beside.get(stage, 0.0))
        a_piece |= {what: spent["seconds"] / spent["count"] for what, spent in record.spent.items() if spent["count"]}
        asked = record.payload["settings"].get("criteria", {}) if stage == "judge_scores" else {}
        protocols |= {name: criterion["judge"]["protocol"] for name, criterion in asked.items()}
    for criterion in campaign.evaluated:
        alike = [
            a_piece[JUDGEMENTS_OF + name]
            for name, protocol in protocols.items()
            if protocol == criterion.judge.protocol and JUDGEMENTS_OF + name in a_piece
        ]
        changed = protocols.get(criterion.name) != criterion.judge.protocol
        if alike and changed:
            a_piece[JUDGEMENTS_OF + criterion.name] = max(alike)
    return Rates(a_piece, beside)
