"""What was edited, if rounds are stale only because of what steers their training."""

from collections.abc import Iterator, Sequence

from rft_pipeline.pipeline.plan.node_plans import NodePlan, informs
from rft_pipeline.pipeline.plan.reasons import RUBRIC, Absent, Change, Waits
from rft_pipeline.stages import STAGES, Node


def trains(node: Node) -> bool:
    """Whether a node is part of the training of a round."""
    return STAGES[node.stage].in_generations


def trained(plans: Sequence[NodePlan]) -> bool:
    """Whether all rounds were trained by what the files say."""
    return not any(each.cause and trains(each.node) for each in plans)


def steering_edits(plans: Sequence[NodePlan]) -> tuple[str, ...]:
    """What was edited, in words, if all rounds were made in generations and are stale only because of the rubric,
    people's labels, the judges, the audit or the reward settings. Else nothing."""
    stale = [each for each in plans if each.cause and trains(each.node)]
    if not stale or any(each.cause == "absent" for each in stale) or any(map(_samples_otherwise, plans)):
        return ()
    found = [words for each in plans if STAGES[each.node.stage].of_people for words in _opinions(each)]
    of_rubric = any(each.cause and each.node.stage == "rubric" for each in plans)
    found += [words for each in plans if each.node.stage == "rollouts" for words in _steering(each, of_rubric)]
    return tuple(dict.fromkeys(found))


def waits_for_audit(plans: Sequence[NodePlan]) -> bool:
    """Whether rounds are stale only because the audit runs again, whose verdict may stay as it is."""
    audited = any(each.node.stage == "judge_audit" and each.cause not in (None, "absent") for each in plans)
    reasons = [reason for each in plans if each.node.stage == "rollouts" for reason in each.reasons]
    return audited and all(isinstance(reason, Waits) and reason.node == "judge_audit" for reason in reasons)


def _samples_otherwise(plan: NodePlan) -> bool:
    """Whether a stage is stale for another reason than the steering, so that rollouts are sampled again from the
    start."""
    if not plan.cause:
        return False
    changes = [reason for reason in plan.reasons if isinstance(reason, Change)]
    match plan.node.stage:
        case "policy" | "warm_start":
            return True
        case "prompts":
            return plan.cause == "absent" or any("train" in change.path or len(change.path) == 1 for change in changes)
        case "rollouts":
            return not all(change.steers for change in changes)
    return False


def _opinions(plan: NodePlan) -> Iterator[str]:
    """The reasons of the rubric, labels or audit."""
    for reason in plan.reasons:
        if isinstance(reason, Change):
            if not informs(plan.node, reason):
                yield reason.in_words()
        elif isinstance(reason, Absent) and not reason.was_made:
            yield f"{plan.node.name} is new"


def _steering(plan: NodePlan, of_rubric: bool) -> Iterator[str]:
    """The reasons of rollouts, without those of the rubric if its own stage gives them."""
    for change in (reason for reason in plan.reasons if isinstance(reason, Change)):
        if not of_rubric or change.path[1] not in RUBRIC:
            yield change.in_words()
