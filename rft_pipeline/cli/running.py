"""`rft check`, `rft plan`, `rft run` and `rft audit`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rft_pipeline.cli import console
from rft_pipeline.cli.options import AsJson, MaybeName, Name, Start, check_and_load, load, require_round, round_number
from rft_pipeline.errors import ConfigError, Exit, RftError
from rft_pipeline.store import Home


def check(campaign: MaybeName = None, as_json: AsJson = False) -> None:
    """Validate a campaign's settings, rubric, prompts, anchors and interaction logs. No model is loaded."""
    home = Home.find()
    if as_json:
        found = [_checked_plain(home, name) for name in ([campaign] if campaign else home.campaigns())]
        console.print_json({"campaigns": found})
        if any(each["errors"] for each in found):
            raise typer.Exit(Exit.BAD_INPUT)
        return
    if campaign is not None:
        _check(home, campaign)
        return
    names = home.campaigns()
    if not names:
        raise ConfigError(home.no_campaign)
    valid = [_is_valid(home, name) for name in names]
    if not all(valid):
        raise typer.Exit(Exit.BAD_INPUT)


def _check(home: Home, campaign: str) -> None:
    from rft_pipeline.check import check_campaign
    from rft_pipeline.cli import show
    from rft_pipeline.pipeline.log_checks import check_logs

    found = check_campaign(home.campaign_folder(campaign), home.models, home.store)
    show.checked(found, check_logs(found.campaign, home))


def _checked_plain(home: Home, campaign: str) -> dict[str, Any]:
    """The findings on one campaign, for JSON: without `errors`, also what it has."""
    from rft_pipeline.check import check_campaign
    from rft_pipeline.cli import show
    from rft_pipeline.pipeline.log_checks import check_logs

    try:
        found = check_campaign(home.campaign_folder(campaign), home.models, home.store)
        return show.plain_checked(campaign, found, check_logs(found.campaign, home))
    except RftError as error:
        return {"campaign": campaign, "errors": str(error).splitlines(), "warnings": []}


def _is_valid(home: Home, campaign: str) -> bool:
    """Check one of several campaigns: print its error, if any, so that the next one is checked too."""
    try:
        _check(home, campaign)
    except RftError as error:
        console.fail(f"{campaign}: {error}")
        return False
    return True


def plan(
    campaign: Name,
    rubric: Annotated[Path | None, typer.Option(help="Plan with this file as the rubric.")] = None,
    start: Start = None,
    as_json: AsJson = False,
) -> None:
    """Show what `rft run` would make and skip, why, and how long it would take. Nothing is run."""
    from rft_pipeline.campaign import load_campaign, with_rubric
    from rft_pipeline.cli import show_audit, show_plan
    from rft_pipeline.pipeline import plan as planning
    from rft_pipeline.pipeline.continuing import standing, without_edit_cycles
    from rft_pipeline.pipeline.edit_plan import plan_edit

    home = Home.find()
    written = load_campaign(home.campaign_folder(campaign))
    if rubric is not None:
        written = with_rubric(written, rubric)
    first = round_number(start)
    found = standing(written, home) if first is None else None
    edit = None if found is None else plan_edit(found, home)
    if edit is not None:
        if as_json:
            console.print_json(
                {
                    **planning.as_json(edit.reports),
                    "edit": {"summary": edit.summary, "cycle": planning.as_json(edit.cycle)},
                }
            )
        else:
            show_plan.planned_edit(edit)
            show_audit.kept_so_far(home, written)
        return
    current = without_edit_cycles(written, home, first or 1) if found is None else found.campaign
    planned = planning.plan(current, home, first)
    if as_json:
        console.print_json(planning.as_json(planned))
    else:
        show_plan.planned(planned)
        show_audit.kept_so_far(home, written)


def run(
    campaign: Name,
    rounds: Annotated[int | None, typer.Option(min=1, help="Last round to make; default: all rounds.")] = None,
    start: Start = None,
) -> None:
    """Run a campaign's Dagster job. Unchanged stages come from the store.

    The exit code is 3 if the alarms stopped the last round.
    """
    from rft_pipeline.cli import show
    from rft_pipeline.cli.launch import launch

    home, first = Home.find(), round_number(start)
    loaded = load(home, campaign) if first is None and _is_made(home, campaign) else check_and_load(home, campaign)
    require_round(loaded, rounds, "--rounds")
    ran = launch(home, loaded, rounds, first)
    show.exit_if_stopped(show.rounds(home, ran))


def _is_made(home: Home, campaign: str) -> bool:
    """Whether every stage comes from the store: what it was made from passed the checks, which load tokenizers."""
    from rft_pipeline.campaign import load_campaign
    from rft_pipeline.pipeline.continuing import standing
    from rft_pipeline.pipeline.plan import plan

    try:
        found = standing(load_campaign(home.campaign_folder(campaign)), home)
        return found.is_begun and all(step.action == "skip" for step in plan(found.campaign, home).steps)
    except RftError:  # the checks say more, and more than one thing
        return False


def audit(
    campaign: Name,
    suggest: Annotated[
        bool,
        typer.Option("--suggest", help="After the audit, also print each criterion's `squash` as the labels fit it."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Judge the anchors and show how far each judge can be trusted, and the part of its weight that it keeps.

    Training uses that part only if campaign.yaml has an `audit` block.
    """
    from rft_pipeline.cli import show_audit
    from rft_pipeline.cli.launch import audit_alone, launch
    from rft_pipeline.stages.base import OF_AUDIT

    home = Home.find()
    loaded = check_and_load(home, campaign)
    show_audit.require_anchors(campaign, loaded.anchors)
    if loaded.audit is not None:
        launch(home, loaded, only=OF_AUDIT)
    else:
        audit_alone(home, loaded)
    if not (suggest and as_json):
        show_audit.audited(home, loaded, as_json=as_json)
    if suggest:
        show_audit.suggested(home, loaded, as_json=as_json)
    if loaded.audit is None and not as_json:
        console.note("campaign.yaml has no `audit` block, so every judge trains with its whole weight")
