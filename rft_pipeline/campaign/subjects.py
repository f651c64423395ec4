"""Subjects: the hash of what a criterion's judge sees of a rollout. Each is judged once by a criterion and judge."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

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


class Shown(NamedTuple):
    """What a criterion's judge sees of a rollout: criteria that are shown the same have the same subjects."""

    show: Show
    items: bool
    """Each item of its rubric by itself."""
    rubric: bool
    """All items with their points."""
    ending: bool
    """How the reply ended, the last turn apart, and `policy.system` if it was filled for the prompt."""
    columns: tuple[str, ...] | None
    """Of the prompt; None for all."""
    group: bool
    """All different replies to the same prompt."""


def shown_to(payload: Mapping[str, Any]) -> Shown:
    """What a criterion's judge sees: the reply, of the prompt what it is set to show (a panel: what any member may
    show), and those columns that its texts or its rule name. A checklist's score depends on all items and points."""
    judges = _singles([payload["judge"]])
    protocols = [PROTOCOLS[judge["protocol"]] for judge in judges]
    columns = columns_read(judges)
    items, rubric = judges_items(payload), sums_items(payload)
    if items or rubric:  # of the rubric, only items and points count
        columns = sorted({name for judge in judges for name in PROTOCOLS[judge["protocol"]].shown_in(judge)})
    return Shown(
        show=judges[0].get("show", "system") if len(judges) == 1 else "system",
        items=items,
        rubric=rubric,
        ending=any(protocol.SEES_ALL for protocol in protocols),
        columns=None if columns is None else tuple(columns),
        group=any(protocol.COMPARES_GROUP for protocol in protocols),
    )


class Subjects:
    """The subjects of some rollouts. Criteria that are shown the same have the same, which are hashed once."""

    def __init__(self, views: Sequence[Rollout]) -> None:
        self.views = views
        self._found: dict[Shown, list[str]] = {}

    def of(self, payload: Mapping[str, Any]) -> list[str]:
        """As `subjects_of`."""
        shown = shown_to(payload)
        if shown not in self._found:
            self._found[shown] = subjects_of(self.views, payload)
        return self._found[shown]


def subjects_of(views: Sequence[Rollout], payload: Mapping[str, Any]) -> list[str]:
    """The hash of what a criterion's judge sees of each rollout, or of each rollout with each item of its rubric.

    A protocol that compares also sees all different replies to the same prompt among `views`.
    """
    shown, views = shown_to(payload), [view for _, view in judged_views(views, payload)]
    parts: list[list[Any]] = [
        [seen.prompt, seen.completion, *({name: text} for name in ("system", "item") if (text := getattr(seen, name)))]
        for seen in (view.showing(shown.show) for view in views)
    ]
    if shown.rubric:
        for part, view in zip(parts, views, strict=True):
            part.append({RUBRIC: [[item.criterion, item.points] for item in items_of(view.fields)]})
    if shown.ending:
        for part, view in zip(parts, views, strict=True):
            apart = {"last_turn": view.last_turn, "filled_system": view.filled_system}
            part += [view.finish_reason, {name: text for name, text in apart.items() if text}]
    if shown.columns is None or shown.columns:
        for part, view in zip(parts, views, strict=True):
            fields = view.fields
            part.append(dict(fields) if shown.columns is None else {name: fields.get(name) for name in shown.columns})
    if shown.group:
        keys = [view.group(shown.columns or ()) for view in views]
        replies: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for key, view in zip(keys, views, strict=True):
            replies[key].add(view.completion)
        groups = {key: fingerprint(sorted(group)) for key, group in replies.items()}
        for part, key in zip(parts, keys, strict=True):
            part.append({"group": groups[key]})
    return [fingerprint(part) for part in parts]
