"""Subjects: the hash of what a criterion's judge sees of a rollout. Each is judged once by a criterion and judge."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.judges import PROTOCOLS
from rft_pipeline.judges.checklist import RUBRIC, items_of, judges_items, sums_items
from rft_pipeline.rules import Rollout


def judged_views(views: Sequence[Rollout], payload: Mapping[str, Any]) -> list[tuple[int, Rollout]]:
    """What a criterion's judge is asked about, with its index in `views`: each rollout, or each item of its rubric."""
    if not judges_items(payload):
        return list(enumerate(views))
    return [
        (place, replace(view, item=item.criterion))
        for place, view in enumerate(views)
        for item in items_of(view.fields)
    ]


def subjects_of(views: Sequence[Rollout], payload: Mapping[str, Any]) -> list[str]:
    """The hash of what a criterion's judge sees of each rollout, or of each rollout with each item of its rubric.

    Every judge sees the texts and the prompt's own system turn. A model also sees the columns that the criterion's
    texts show. A protocol that sees all also sees how the reply ended, the prompt's fields, and `policy.system` if it
    was filled for the prompt. A protocol that compares also sees all different replies to the same prompt among
    `views`. A checklist's score depends on all items and points.
    """
    views = [view for _, view in judged_views(views, payload)]
    judges = [member["judge"] for member in payload["judge"].get("members", ())] or [payload["judge"]]
    protocols = [PROTOCOLS[judge["protocol"]] for judge in judges]
    parts: list[list[Any]] = [
        [view.prompt, view.completion, *({name: text} for name in ("system", "item") if (text := getattr(view, name)))]
        for view in views
    ]
    if sums_items(payload):
        for part, view in zip(parts, views, strict=True):
            part.append({RUBRIC: [[item.criterion, item.points] for item in items_of(view.fields)]})
    if any(protocol.SEES_ALL for protocol in protocols):
        for part, view in zip(parts, views, strict=True):
            part += [view.finish_reason, dict(view.fields), *([view.filled_system] if view.filled_system else [])]
    elif columns := sorted({name for judge in judges for name in PROTOCOLS[judge["protocol"]].shown_in(judge)}):
        for part, view in zip(parts, views, strict=True):
            part.append({name: view.fields.get(name) for name in columns})
    if any(protocol.COMPARES_GROUP for protocol in protocols):
        replies: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for view in views:
            replies[view.group_key].add(view.completion)
        groups = {key: fingerprint(sorted(group)) for key, group in replies.items()}
        for part, view in zip(parts, views, strict=True):
            part.append({"group": groups[view.group_key]})
    return [fingerprint(part) for part in parts]
