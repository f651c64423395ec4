"""How long a run will take, from the rates in the campaign's own records."""

from collections.abc import Sequence
from dataclasses import dataclass

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import judged_criteria_in
from rft_pipeline.progress import judgements_of
from rft_pipeline.stages.counting import Work, is_record
from rft_pipeline.store import Record


@dataclass(frozen=True)
class Rates:
    """Rates of work."""

    per_unit: dict[str, float]
    """Seconds a unit, by what is counted: `rollouts`, `judgements of polite`, `steps`."""
    overhead: dict[str, float]
    """Seconds a run of a stage takes in addition: loading models, writing files."""

    def seconds(self, stage: str, work: Work) -> float | None:
        """None when the work holds something that was never timed."""
        units = {what: count for what, count in work.make.items() if not is_record(what, stage)}
        if stage not in self.overhead or not units.keys() <= self.per_unit.keys():
            return None
        return self.overhead[stage] + sum(count * self.per_unit[what] for what, count in units.items())


def rates(campaign: Campaign, records: Sequence[Record]) -> Rates:
    """From records, oldest first: the newest rate of each unit, and the longest overhead of each stage.

    A criterion that was never judged gets the rate of the slowest criterion with its protocol. Members of panels and
    items of checklists count as criteria: they are what is judged.
    """
    per_unit: dict[str, float] = {}
    overhead: dict[str, float] = {}
    protocols: dict[str, str] = {}
    for record in records:
        stage = record.payload["stage"]
        rest = record.seconds - sum(spent["seconds"] for spent in record.spent.values())
        overhead[stage] = max(rest, overhead.get(stage, 0.0))
        per_unit |= {what: spent["seconds"] / spent["count"] for what, spent in record.spent.items() if spent["count"]}
        judged = judged_criteria_in(record.payload) if stage == "judge_scores" else []
        protocols |= {each.name: each.payload["judge"]["protocol"] for each in judged}
    for criterion in campaign.single_criteria:
        if protocols.get(criterion.name) == criterion.judge.protocol:
            continue
        similar = [
            per_unit[judgements_of(name)]
            for name, protocol in protocols.items()
            if protocol == criterion.judge.protocol and judgements_of(name) in per_unit
        ]
        if similar:
            per_unit[judgements_of(criterion.name)] = max(similar)
    return Rates(per_unit, overhead)
