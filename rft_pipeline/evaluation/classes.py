"""Classes: what the replies of each policy named, against the labels of their held-out prompts.

Every reply to a prompt with a label counts, also one that fails a gate.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.evaluation.compare import RoundRows
from rft_pipeline.judges import RuleJudge
from rft_pipeline.rules.label import Label


def label_rules(criteria: Sequence[Criterion]) -> dict[str, Label]:
    """The `label` rules among some criteria and the members of panels, by name."""
    singles = [each for criterion in criteria for each in criterion.singles]
    return {
        each.name: each.judge.rule
        for each in singles
        if isinstance(each.judge, RuleJudge) and isinstance(each.judge.rule, Label)
    }


def compare_classes(policies: Sequence[RoundRows], rules: Mapping[str, Label]) -> dict[str, Any]:
    """The numbers of `class_numbers` by criterion and name of the policy."""
    return {
        name: {each.name: class_numbers(_named(each, rule), rule.labels) for each in policies}
        for name, rule in rules.items()
    }


def class_numbers(named: Counter[tuple[str | None, str | None]], labels: Sequence[str]) -> dict[str, Any]:
    """From the number of replies by (label of the prompt, class that the reply names; None for none).

    `classes` has, in the order of `labels`: label, replies (to prompts of this class), `named` (how many of them name
    each class) and `none` (how many name none), precision, recall and f1, in [0, 1] or null where nothing was divided
    by. A reply that names none is a miss of its class and a false alarm of no class.
    `right` is the share of right replies, `none` the share that names no class, `f1` the mean over the classes that
    have replies (macro F1). `unlabelled` counts the replies to prompts without a label, which are left out.
    """
    counted = {pair: count for pair, count in named.items() if pair[0] is not None}
    total = sum(counted.values())
    classes = [_class(counted, label, labels) for label in labels]
    f1 = [each["f1"] for each in classes if each["replies"]]
    return {
        "classes": classes,
        "replies": total,
        "right": _share(sum(counted.get((label, label), 0) for label in labels), total),
        "none": _share(sum(each["none"] for each in classes), total),
        "f1": _share(sum(f1), len(f1)),
        "unlabelled": named.total() - total,
    }


def _class(counted: Mapping[tuple[str | None, str | None], int], label: str, labels: Sequence[str]) -> dict[str, Any]:
    row = {each: counted.get((label, each), 0) for each in labels}
    none = counted.get((label, None), 0)
    hits, replies = row[label], sum(row.values()) + none
    alarms = sum(counted.get((each, label), 0) for each in labels)
    return {
        "label": label,
        "replies": replies,
        "named": row,
        "none": none,
        "precision": _share(hits, alarms),
        "recall": _share(hits, replies),
        "f1": _share(2 * hits, alarms + replies),
    }


def _named(policy: RoundRows, rule: Label) -> Counter[tuple[str | None, str | None]]:
    rows = policy.rows.select("fields", "completion").iter_rows()
    return Counter((rule.label_of(json.loads(fields).get(rule.column)), rule.named(reply)) for fields, reply in rows)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
