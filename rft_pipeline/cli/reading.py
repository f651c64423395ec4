"""`rft report`, `rft diff` and `rft trace`: they only read the store (a diff of rubrics may judge rollouts)."""

from pathlib import Path
from typing import Annotated

import typer

from rft_pipeline.cli import console
from rft_pipeline.cli.options import AsJson, Name, load
from rft_pipeline.store import Home


def report(
    campaign: Name,
    samples: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Also show N held-out prompts, chosen by seed, with all replies."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="With --samples: another choice.", show_default="the campaign's")
    ] = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="With --samples: print these alone, as a table in Markdown.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the held-out reward of the base policy and of every round, and the path of the report page."""
    from rft_pipeline.cli import samples as side_by_side
    from rft_pipeline.cli import show

    if samples is None and (as_markdown or seed is not None):
        raise typer.BadParameter("--markdown and --seed need --samples N")
    home = Home.find()
    loaded = load(home, campaign)
    found = None if samples is None else side_by_side.samples(loaded, home, samples, seed)
    if as_json:
        summary = show.report_summary(home, loaded)
        console.print_json(summary if found is None else summary | {"samples": found.plain})
    elif found is not None and as_markdown:
        print(side_by_side.as_markdown(found))
    else:
        show.rounds(home, loaded)
        if found is not None:
            side_by_side.show(found)


def diff(
    a: Annotated[str, typer.Argument(metavar="RECORD_A|CAMPAIGN", help="A record, or a campaign with --rubric.")],
    b: Annotated[str | None, typer.Argument(metavar="RECORD_B", help="A record of the same stage.")] = None,
    rubric: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="OLD NEW", help="Two rubric files to score stored rollouts by.")
    ] = None,
    round_: Annotated[
        int | None,
        typer.Option("--round", min=1, help="With --rubric: the round of the rollouts; default: the last finished."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two records of a stage, or two rubrics on the same rollouts.

    A record is named by its key (the current record of support_reply/round_1/judge_scores; add @previous for the one
    before), its address (key/fingerprint), or at least six digits of its fingerprint.
    """
    from rft_pipeline.cli import show_diff
    from rft_pipeline.lineage.diff.naming import named
    from rft_pipeline.lineage.diff.records import RecordDiff, compare_records
    from rft_pipeline.lineage.diff.rubrics import RubricDiff, compare_rubrics
    from rft_pipeline.store import RecordStore

    home = Home.find()
    found: RecordDiff | RubricDiff
    if rubric is not None and b is None:
        with console.progress_lines():
            found = compare_rubrics(load(home, a), home, *rubric, round_)
    elif rubric is None and b is not None and round_ is None:
        records = RecordStore(home.store)
        found = compare_records(records, named(records, a), named(records, b))
    else:
        raise typer.BadParameter("name two records, or one campaign with --rubric OLD NEW (and optionally --round)")
    if as_json:
        console.print_json(found.as_json())
    else:
        show_diff.show(found)


def trace(
    what: Annotated[
        str,
        typer.Argument(
            help="A record (key, address, or 6 digits of its fingerprint), a rollout_id, a prompt (prompt_id, or its "
            "id in your file), or a criterion (campaign:name, or 6 digits of its fingerprint).",
            show_default=False,
        ),
    ],
    campaign: Annotated[str | None, typer.Option(help="Search only this campaign.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what something was made from and what was made from it."""
    from dataclasses import asdict

    from rft_pipeline.cli.show_trace import traced
    from rft_pipeline.lineage import find

    found = find.trace(Home.find(), what, campaign)
    if as_json:
        console.print_json(asdict(found))
    else:
        traced(found)
