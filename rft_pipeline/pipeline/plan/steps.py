"""The plan of a campaign: one step a stage, with reasons, rows, and an estimate."""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rft_pipeline.campaign import Campaign
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.pipeline.plan.estimate import Rates, rates
from rft_pipeline.pipeline.plan.first_round import Settled, settle, settled_without
from rft_pipeline.pipeline.plan.node_plans import Cause, NodePlan, node_plans
from rft_pipeline.pipeline.plan.reasons import Waits
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.stages import STAGES, Node
from rft_pipeline.stages.counting import Counting, Rows
from rft_pipeline.stages.graph import made_together
from rft_pipeline.store import Home, RecordStore

SECONDS_AN_HOUR = 3600


@dataclass(frozen=True)
class PlannedStage:
    """What a run would do with one stage, as `rft plan --json` prints it."""

    key: str
    action: str
    """`run` or `skip`."""
    reasons: list[str]
    rows: Rows
    work: dict[str, int]
    """Rows to make, by kind: `rollouts`, `judgements of polite`, `steps`."""
    ranges: dict[str, tuple[int, int]]
    """The kinds whose count depends on what the run finds: the least and the most."""
    made_up_of: list[str]
    """What the counts are products and sums of, in words; empty where a part of them is already there."""
    cause: Cause | None
    seconds: float | None
    """Estimated; null when the work holds something that was never timed."""


@dataclass(frozen=True)
class Step(PlannedStage):
    """The same, with the stages whose run is one of the reasons."""

    waits_for: list[str]


@dataclass(frozen=True)
class Plan:
    """What `rft run` would do."""

    steps: list[Step]
    first_round: int
    """Rounds before it keep what they have."""
    keys: list[str]
    """The stages of the run; the others keep what they have."""
    seconds: float | None
    """The sum over all stages that would run."""
    cost: float | None
    """From `prices.machine_hour` in campaign.yaml."""
    currency: str


def plan(campaign: Campaign, home: Home, start: int | None = None, keep: Callable[[Node], bool] | None = None) -> Plan:
    """The plan of a run from round `start`; without `start`, what `on_rubric_change` chooses. With `keep`, the nodes of
    rounds that it is true for keep what they have.

    Raises `DataError` for a missing prompts file, `ConfigError` when rounds before `start` were never made.
    """
    records = RecordStore(home.store)
    sources = source_hashes(campaign, home, fetch=False)
    if keep is None:
        settled = settle(campaign, records, sources, start)
    else:
        settled = settled_without(campaign, records, sources, node_plans(campaign, records, sources), keep)
    why = f"on_rubric_change: {campaign.on_rubric_change}" if start is None else f"the run starts from round_{start}"
    timed = rates(campaign, records.all(campaign.name))
    steps = []
    for here in settled.plans:
        if here.cause is not None:
            steps.append(_running(campaign, here, sources, home, timed, _kept(campaign, here, settled, records)))
            continue
        kept = [f"kept ({why})"] if here.node.name in settled.kept else []
        steps.append(_skipped(here.node.key, kept, _rows_kept(here)))
    return _of_steps(steps, settled.first_round, settled.keys, campaign)


def without(planned: Plan, made: Collection[str], why: str, campaign: Campaign) -> Plan:
    """The plan if the stages in `made` are made before it runs, which finds their records; `why` says where."""
    steps = [
        _skipped(step.key, [why], Rows(make=0, have=step.rows.have + step.rows.make)) if step.key in made else step
        for step in planned.steps
    ]
    return _of_steps(steps, planned.first_round, planned.keys, campaign)


def _skipped(key: str, why: list[str], rows: Rows) -> Step:
    return Step(key, "skip", why, rows, {}, {}, [], None, 0.0, [])


def _of_steps(steps: list[Step], first_round: int, keys: list[str], campaign: Campaign) -> Plan:
    """With the time and the cost of all steps, which are unknown if that of one is."""
    seconds = [step.seconds for step in steps]
    total = None if None in seconds else sum(each for each in seconds if each is not None)
    cost = None if total is None else total * campaign.prices.machine_hour / SECONDS_AN_HOUR
    return Plan(steps, first_round, keys, total, cost, campaign.prices.currency)


def as_json(planned: Plan) -> dict[str, Any]:
    """Plain data: `stages`, and the totals. The reasons of a stage name what it waits for."""
    plain = asdict(planned)
    stages = [{name: value for name, value in each.items() if name != "waits_for"} for each in plain.pop("steps")]
    return {"stages": stages, **plain}


def _rows_kept(plan: NodePlan) -> Rows:
    """The rows of a node that does not run; 0 in a kept round that has no record."""
    if plan.found is None:
        return Rows(make=0, have=0)
    counted = STAGES[plan.node.stage].counted
    return Rows(make=0, have=1 if counted is None else plan.found.rows.get(counted, 1))


def _kept(campaign: Campaign, here: NodePlan, settled: Settled, records: RecordStore) -> Path | None:
    """Where a round in generations keeps its state; None when it cannot have begun."""
    first, *others = made_together(campaign, here.node)
    if not others:
        return None
    made_from = next(each.made_from for each in settled.plans if each.node.name == first.name)
    return None if made_from is None else records.kept(others[-1].key, fingerprint(made_from))


def _running(
    campaign: Campaign, plan: NodePlan, sources: dict[str, str], home: Home, timed: Rates, kept: Path | None
) -> Step:
    counting = Counting(campaign, plan.node, plan.known, sources, home, kept)
    STAGES[plan.node.stage].count(counting)
    work = counting.work
    seconds = timed.seconds(plan.node.stage, work)
    refusal = [f"will fail: {work.refusal}"] if work.refusal else []
    return Step(
        key=plan.node.key,
        action="run",
        reasons=[
            *dict.fromkeys(reason.in_words() for reason in plan.reasons),
            *work.notes,
            *work.later_in_words,
            *refusal,
        ],
        waits_for=[reason.node for reason in plan.reasons if isinstance(reason, Waits)],
        rows=work.rows,
        work=work.make,
        ranges=work.ranges,
        made_up_of=[] if work.rows.have else work.made_up_of,
        cause=plan.cause,
        seconds=None if seconds is None else round(seconds, 1),
    )
