"""Subjects: the hash of what a criterion's judge sees of a rollout. Each is judged once by a criterion and judge."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.judges import PROTOCOLS
from rft_pipeline.judges.checklist import RUBRIC, items_of, judges_items, sums_items
from rft_pipeline.rules import Rollout
from rft_pipeline.rules.base import Show


def judged_views(views: Sequence[Rollout], payload: Mapping[str, Any]) -> list[tuple[int, Rollout]]:
    """What a criterion's judge is asked about, with its index in `views`: each rollout, or each item of its rubric."""
    if not judges_items(payload):
        return list(enumerate(views))
    return [
        (place, replace(view, item=item.criterion))
        for place, view in enumerate(views)
        for item in items_of(view.fields)
    ]


def columns_read(judges: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """The columns of the prompts that the scores of judges (their settings as plain data) may depend on; None if any
    may count."""
    found = [PROTOCOLS[judge["protocol"]].reads_in(judge) for judge in _singles(judges)]
    return None if None in found else sorted({name for names in found for name in names or ()})


def _singles(judges: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The judges, with each panel or checklist replaced by its members."""
    return [
        single for judge in judges for single in ([member["judge"] for member in judge.get("members", ())] or [judge])
    ]


def subjects_of(views: Sequence[Rollout], payload: Mapping[str, Any]) -> list[str]:
    """The hash of what a criterion's judge sees of each rollout, or of each rollout with each item of its rubric.

    Every judge sees the reply, of the prompt what it is set to show (a panel: what any member may show), and those
    columns that its texts or its rule name. A protocol that sees all also sees how the reply ended, the last turn
    apart, and `policy.system` if it was filled for the prompt. A protocol that compares also sees all different replies
    to the same prompt among `views`. A checklist's score depends on all items and points.
    """
    views = [view for _, view in judged_views(views, payload)]
    judges = _singles([payload["judge"]])
    protocols = [PROTOCOLS[judge["protocol"]] for judge in judges]
    columns = columns_read(judges)
    if judges_items(payload) or sums_items(payload):  # of the rubric, only items and points count
        columns = sorted({name for judge in judges for name in PROTOCOLS[judge["protocol"]].shown_in(judge)})
    show: Show = judges[0].get("show", "system") if len(judges) == 1 else "system"
    parts: list[list[Any]] = [
        [seen.prompt, seen.completion, *({name: text} for name in ("system", "item") if (text := getattr(seen, name)))]
        for seen in (view.showing(show) for view in views)
    ]
    if sums_items(payload):
        for part, view in zip(parts, views, strict=True):
            part.append({RUBRIC: [[item.criterion, item.points] for item in items_of(view.fields)]})
    if any(protocol.SEES_ALL for protocol in protocols):
        for part, view in zip(parts, views, strict=True):
            apart = {"last_turn": view.last_turn, "filled_system": view.filled_system}
            part += [view.finish_reason, {name: text for name, text in apart.items() if text}]
    if columns is None or columns:
        for part, view in zip(parts, views, strict=True):
            part.append(dict(view.fields) if columns is None else {name: view.fields.get(name) for name in columns})
    if any(protocol.COMPARES_GROUP for protocol in protocols):
        keys = [view.group(columns or ()) for view in views]
        replies: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for key, view in zip(keys, views, strict=True):
            replies[key].add(view.completion)
        groups = {key: fingerprint(sorted(group)) for key, group in replies.items()}
        for part, key in zip(parts, keys, strict=True):
            part.append({"group": groups[key]})
    return [fingerprint(part) for part in parts]
