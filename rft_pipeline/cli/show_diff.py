"""What `rft diff` prints. Prompts and completions are untrusted: they are printed as plain text, and cut."""

from rich.padding import Padding
from rich.text import Text

from rft_pipeline.cli.console import out, table
from rft_pipeline.cli.words import change, plain, score
from rft_pipeline.lineage.diff.records import RecordDiff
from rft_pipeline.lineage.diff.rubrics import RubricDiff
from rft_pipeline.lineage.diff.scores import Move, Mover, ScoreDiff, Shift

TEXT = 400
"""Longest prompt or completion that is printed in full, in characters; --json has all of it."""

LINE = 1000
"""The same for a difference: two settings, already cut."""


def show(diff: RecordDiff | RubricDiff) -> None:
    """The settings that differ, the results that differ, and the rollouts whose rewards differ most."""
    if isinstance(diff, RecordDiff):
        _line(f"A  {diff.a.address}  {diff.a.created}")
        _line(f"B  {diff.b.address}  {diff.b.created}")
    else:
        _line(f"A  {diff.a}")
        _line(f"B  {diff.b}")
        _line(f"on {diff.rollouts.address}; judgements made: {diff.made}")
    _head("made from" if isinstance(diff, RecordDiff) else "rubric")
    for line in diff.differences or ["no difference"]:
        _line(f"  {plain(line, LINE)}")
    if isinstance(diff, RecordDiff):
        _outcome(diff)
    if diff.scores is not None:
        scores = diff.scores
        _head(f"rollouts in both: {scores.both}; only in A: {scores.only_a}; only in B: {scores.only_b}")
        if scores.both:
            _scores(scores)


def _outcome(diff: RecordDiff) -> None:
    _head("results")
    if diff.same_content:
        _line("  the same content")
    changed = {name: pair for name, pair in {**diff.rows, **diff.metrics}.items() if pair[0] != pair[1]}
    if not changed:
        _line("  the same rows and metrics")
        return
    results = table("", numbers=("A", "B", "B − A"))
    for name, (a, b) in changed.items():
        results.add_row(name, _number(a), _number(b), "–" if a is None or b is None else f"{b - a:+.4g}")
    out.print(results)


def _scores(scores: ScoreDiff) -> None:
    heads = ("weight A", "B", "scored in both", "rank corr.", "mean A", "B", "shift", "newly unscored")
    criteria = table("", numbers=heads)
    for name, shift in scores.criteria.items():
        criteria.add_row(*_cells(name, shift))
    criteria.add_row(*(f"[bold]{cell}[/]" if cell else "" for cell in _cells("reward", scores.reward)))
    out.print(criteria)
    if not scores.moved:
        _line("\nno reward differs")
        return
    _head(f"rewards that differ: {scores.moved_count}" + (", largest first" if scores.moved_count > 1 else ""))
    for place, move in enumerate(scores.moved, start=1):
        _move(place, move)


def _cells(name: str, shift: Shift) -> list[str]:
    weights = ["" if weight is None else f"{weight:.2f}" for weight in (shift.weight_a, shift.weight_b)]
    return [
        name,
        *weights,
        str(shift.scored),
        score(shift.rank_correlation),
        score(shift.mean_a),
        score(shift.mean_b),
        change(shift.shift),
        str(shift.newly_unscored),
    ]


def _move(place: int, move: Move) -> None:
    reward = f"{score(move.reward_a)} → {score(move.reward_b)} ({change(move.reward_b - move.reward_a)})"
    where = f"  {plain(move.prompt_id, TEXT)}, rollout {move.rollout_id}"
    out.print(Text.assemble((f"{place}. {reward}", "bold"), where), soft_wrap=True)
    _line(f"   {', '.join(_mover(mover) for mover in move.movers)}")
    for name, text in (("prompt", move.prompt), ("completion", move.completion)):
        out.print(Padding(Text.assemble((name, "dim"), " ", plain(text, TEXT)), (0, 0, 0, 3), expand=False))


def _mover(mover: Mover) -> str:
    how = "gate" if mover.gate else change(mover.change)
    return f"{mover.criterion} {score(mover.score_a)} → {score(mover.score_b)} ({how})"


def _head(text: str) -> None:
    out.print(Text(f"\n{text}", "bold"), soft_wrap=True)


def _line(text: str) -> None:
    """Print a text as it is; markup in a rubric or a path is printed as text."""
    out.print(Text(text), soft_wrap=True)


def _number(value: float | None) -> str:
    return "–" if value is None else str(value) if isinstance(value, int) else f"{value:.4g}"
