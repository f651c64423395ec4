"""The plan of a run after an edit that an edit cycle continues from: the reports of what stands, then the cycle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.continuation import Pinned
from rft_pipeline.pipeline.continuing import Standing, leads_to_report
from rft_pipeline.pipeline.plan import Plan, plan, without
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.progress import counted, duration, kind_of
from rft_pipeline.stages.base import OF_AUDIT
from rft_pipeline.stages.counting import Counting
from rft_pipeline.stages.graph import node
from rft_pipeline.stages.judge_scores import count_taken
from rft_pipeline.store import Home, champions


@dataclass(frozen=True)
class EditPlan:
    """What a run after an edit would do."""

    summary: str
    reports: Plan
    """Made first, in the rounds that stand."""
    cycle: Plan
    """Made then, in the edit cycle."""


def plan_edit(found: Standing, home: Home) -> EditPlan | None:
    """The plan after an edit that an edit cycle continues from; None if there is no such edit."""
    if found.begins is None:
        return None
    reports = plan(found.campaign, home, keep=lambda node: not leads_to_report(node))
    shared = {f"{found.next.name}/{stage}" for stage in OF_AUDIT}
    made = {step.key for step in reports.steps if step.action == "run" and step.key in shared}
    cycle = without(plan(found.next, home), made, "made with the reports", found.next)
    return EditPlan(_summary(found, reports, cycle, home), reports, cycle)


def _summary(found: Standing, reports: Plan, cycle: Plan, home: Home) -> str:
    """One line: what was edited, what is judged anew, what is trained, and how long it takes."""
    assert found.begins is not None
    assert found.begins.edit is not None
    edit, how = found.begins.edit, found.next
    assert how.generations is not None
    counting = Counting(how, node(how, "round_1/judge_scores"), {}, source_hashes(how, home, fetch=False), home)
    count_taken(counting)
    anew = _judged_in_words(
        {
            "for the audit": [step.work for step in reports.steps if step.key == f"{how.name}/judge_audit"],
            "for the reports": [step.work for step in reports.steps if step.key != f"{how.name}/judge_audit"],
            "of stored rollouts": [counting.work.make],
        }
    )
    size = how.generations.prompts * how.rollouts.group_size
    start = _in_words(edit.continuation.start, found.campaign, home)
    train = f"{counted(edit.continuation.generations, 'generation')} of {size} rollouts from {start}"
    seconds = None if reports.seconds is None or cycle.seconds is None else reports.seconds + cycle.seconds
    time = "" if seconds is None else f"; about {duration(seconds)}"
    then = "then, if the audit's verdict changes," if found.if_audit_changes else "then"
    return f"edited: {'; '.join(edit.reasons)}. {anew or 'Nothing stored is judged anew'}; {then} {train}{time}"


def _judged_in_words(works: Mapping[str, Sequence[Mapping[str, int]]]) -> str:
    """`96 judgements for the audit, 352 for the reports and 64 of stored rollouts`; empty if there are none."""
    counts = {purpose: sum(map(_judgements, work)) for purpose, work in works.items()}
    parts = [f"{count:,} {purpose}" for purpose, count in counts.items() if count]
    if not parts:
        return ""
    count, _, purpose = parts[0].partition(" ")
    first = f"{count} {'judgement' if count == '1' else 'judgements'} {purpose}"
    return first if len(parts) == 1 else f"{', '.join([first, *parts[1:-1]])} and {parts[-1]}"


def _judgements(work: Mapping[str, int]) -> int:
    return sum(count for what, count in work.items() if kind_of(what) == "judgements")


def _in_words(start: Pinned, campaign: Campaign, home: Home) -> str:
    """`the champion (tiny/round_1/checkpoints)`."""
    key = start.address.rpartition("/")[0]
    now = champions.champion(home.root, campaign.name)
    return f"the champion ({key})" if now is not None and now.record == start.address else key
