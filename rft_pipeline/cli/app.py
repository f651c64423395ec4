"""The commands, and how an error becomes one message and an exit code."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from rft_pipeline.campaign import Audit, Campaign, with_rubric
from rft_pipeline.campaign.cycles import load_in_force
from rft_pipeline.cli import console, labels, show
from rft_pipeline.errors import ConfigError, RftError
from rft_pipeline.store import Home

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Reinforcement fine-tuning with LLM judges: versioned, cacheable stages on Dagster and MLflow.",
)
app.add_typer(labels.app, name="labels")

Name = Annotated[str, typer.Argument(help="A folder below data/ that holds campaign.yaml.", show_default=False)]
From = Annotated[
    str | None,
    typer.Option("--from", help="Begin at `round_2`, say; earlier rounds stay. Else on_rubric_change decides."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def main() -> None:
    """Run the command line; an `RftError` is printed without a traceback and ends with exit code 1."""
    try:
        app()
    except RftError as error:
        console.fail(str(error))
        sys.exit(1)


@app.command(epilog="Example: rft check support_reply")
def check(
    campaign: Annotated[str | None, typer.Argument(help="One campaign; all when left out.", show_default=False)] = None,
) -> None:
    """Validate a campaign's settings, rubric, prompts, anchors and interaction logs, without a model."""
    home = Home.find()
    if campaign is not None:
        _check(home, campaign)
        return
    sound = [_is_sound(home, name) for name in home.campaigns()]
    if not all(sound):
        raise typer.Exit(1)


@app.command(epilog="Example: rft plan support_reply --rubric stricter.yaml")
def plan(
    campaign: Name,
    rubric: Annotated[Path | None, typer.Option(help="Plan as if this file were the rubric.")] = None,
    start: From = None,
    as_json: AsJson = False,
) -> None:
    """Tell what `rft run` would make and what it would skip, why, and about how long it takes."""
    from rft_pipeline.pipeline import plan as planning

    home = Home.find()
    loaded = _load(home, campaign)
    if rubric is not None:
        loaded = with_rubric(loaded, rubric)
    planned = planning.plan(loaded, home, _round(start))
    if as_json:
        print(json.dumps(planning.as_json(planned), indent=2))
    else:
        show.planned(planned)


@app.command(epilog="Example: rft run support_reply --rounds 1")
def run(
    campaign: Name,
    rounds: Annotated[int | None, typer.Option(min=1, help="Stop after this round; all rounds when left out.")] = None,
    start: From = None,
) -> None:
    """Run a campaign's Dagster job; what is unchanged comes from the store."""
    from rft_pipeline.check import check_campaign
    from rft_pipeline.cli.launch import launch

    home = Home.find()
    check_campaign(_folder(home, campaign), home.models, home.store)
    loaded = _load(home, campaign)
    if rounds is not None and rounds > loaded.rounds:
        raise ConfigError(f"--rounds {rounds}: {campaign} has {loaded.rounds}; set `rounds` in its campaign.yaml")
    launch(home, loaded, rounds or loaded.rounds, _round(start))
    show.rounds(home, loaded)


@app.command(epilog="Example: rft retrain support_reply --plan")
def retrain(
    campaign: Name,
    plan: Annotated[bool, typer.Option("--plan", help="Only tell what would be drawn; nothing is written.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw prompts from fresh logs and run the campaign on them from its champion; nothing new, nothing runs."""
    from rft_pipeline.cli.retrain import retrained

    retrained(Home.find(), campaign, plan=plan, as_json=as_json)


@app.command(epilog="Example: rft audit support_reply")
def audit(campaign: Name, as_json: AsJson = False) -> None:
    """Judge the anchors, and tell how far each judge can be trusted; with an `audit` block, how far it trains."""
    from rft_pipeline.check import check_campaign
    from rft_pipeline.cli import show_audit
    from rft_pipeline.cli.launch import launch
    from rft_pipeline.pipeline import Pipeline

    home = Home.find()
    check_campaign(_folder(home, campaign), home.models, home.store)
    loaded = _load(home, campaign)
    show_audit.refuse_without_anchors(campaign, loaded.anchors)
    if loaded.audit is not None:
        launch(home, loaded, rounds=0)
    else:  # its graph has no such asset: shown, and fed to nothing
        shown = loaded.model_copy(update={"audit": Audit()})
        for stage in ("rubric", "labels", "judge_audit"):
            Pipeline(home).run(shown, stage)
    show_audit.audited(home, campaign, as_json=as_json)


@app.command(epilog="Example: rft report support_reply --json")
def report(campaign: Name, as_json: AsJson = False) -> None:
    """Show the held-out reward of base and every round, and where the report page lies."""
    home = Home.find()
    loaded = _load(home, campaign)
    if as_json:
        print(json.dumps(show.report_summary(home, loaded), indent=2))
    else:
        show.rounds(home, loaded)


@app.command(epilog="Example: rft promote support_reply --round 1 --force --why 'reads better to our agents'")
def promote(
    campaign: Name,
    round_: Annotated[
        int | None, typer.Option("--round", min=1, help="This round; else the one with the best lower bound.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also where a bound failed; takes --round and --why.")] = False,
    why: Annotated[str, typer.Option(help="The reason, kept with the champion and in its model card.")] = "",
) -> None:
    """Make a round the campaign's champion; refuses, and says by how much, when it failed a bound."""
    from rft_pipeline.cli import champion as promotion

    home = Home.find()
    promotion.promote(home, _load(home, campaign), round_, force=force, why=why)


@app.command(epilog="Example: rft rollback support_reply --why 'too long on the phone'")
def rollback(
    campaign: Name, why: Annotated[str, typer.Option(help="The reason, kept with the champion.")] = "rolled back"
) -> None:
    """Make the champion before the one in force the champion again, or base where there was none before."""
    from rft_pipeline.cli import champion as promotion

    home = Home.find()
    promotion.rollback(home, _load(home, campaign), why)


@app.command(epilog="Example: rft export support_reply ./support-reply-model")
def export(
    campaign: Name,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
    round_: Annotated[int | None, typer.Option("--round", min=1, help="This round, champion or not.")] = None,
) -> None:
    """Write the champion as a folder that transformers and `vllm serve` load, with its model card."""
    from rft_pipeline.cli import champion as promotion

    home = Home.find()
    promotion.export_to(home, _load(home, campaign), directory, round_)


@app.command(epilog="Example: rft diff support_reply --rubric data/support_reply/rubric.yaml new.yaml")
def diff(
    a: Annotated[str, typer.Argument(metavar="RECORD_A|CAMPAIGN", help="A record, or with --rubric a campaign.")],
    b: Annotated[str | None, typer.Argument(metavar="RECORD_B", help="A record of the same stage.")] = None,
    rubric: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="OLD NEW", help="Two rubric files, tried on stored rollouts.")
    ] = None,
    round_: Annotated[
        int | None, typer.Option("--round", min=1, help="With --rubric: whose rollouts; the last finished round's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two records of a stage, or two rubrics on the same rollouts.

    A record goes by its key (support_reply/round_1/judge_scores, the one in force; with @previous the one before it),
    its address (key/fingerprint), or the first six or more digits of its fingerprint.
    """
    from rft_pipeline.cli import show_diff
    from rft_pipeline.lineage import diff as diffing
    from rft_pipeline.store import RecordStore

    home = Home.find()
    found: diffing.RecordDiff | diffing.RubricDiff
    if rubric is not None and b is None:
        with console.progress_lines():
            found = diffing.compare_rubrics(_load(home, a), home, *rubric, round_)
    elif rubric is None and b is not None and round_ is None:
        records = RecordStore(home.store)
        found = diffing.compare_records(records, diffing.named(records, a), diffing.named(records, b))
    else:
        raise typer.BadParameter("name two records, or one campaign with --rubric OLD NEW (and perhaps --round)")
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        show_diff.show(found)


@app.command(epilog="Example: rft trace support_reply/round_2/checkpoints")
def trace(
    what: Annotated[
        str,
        typer.Argument(
            help="A record (key, address or 6 digits of its fingerprint), a rollout_id, a prompt (its id in your file "
            "or prompt_id) or a criterion (campaign:name or 6 digits of its fingerprint).",
            show_default=False,
        ),
    ],
    campaign: Annotated[str | None, typer.Option(help="Look in this campaign only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what something was made from and what was made from it, from stored facts alone."""
    from dataclasses import asdict

    from rft_pipeline import lineage
    from rft_pipeline.cli.show_trace import traced

    found = lineage.trace(Home.find(), what, campaign)
    if as_json:
        print(json.dumps(asdict(found), indent=2))
    else:
        traced(found)


Stored = Annotated[str | None, typer.Argument(help="One campaign; all when left out.", show_default=False)]


@app.command(epilog="Example: rft verify support_reply --json")
def verify(campaign: Stored = None, as_json: AsJson = False) -> None:
    """Re-read every record and table and say what is missing or altered; exit code 1 when something is wrong."""
    from rft_pipeline.cli import show_upkeep
    from rft_pipeline.upkeep.verify import verify as verified

    found = verified(Home.find().store, campaign, show_upkeep.track)
    show_upkeep.verified(found, as_json=as_json)
    if not found.sound:
        raise typer.Exit(1)


@app.command(epilog="Example: rft gc support_reply --yes")
def gc(
    campaign: Stored = None,
    yes: Annotated[bool, typer.Option("--yes", help="Free it; without, nothing is changed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Free what no champion, no record in force and nothing in the store's keep.txt reaches.

    keep.txt names what else to keep: a record's address or the id of a Dagster or MLflow run a line.
    """
    from rft_pipeline.cli import show_upkeep
    from rft_pipeline.upkeep import gc as collecting

    home = Home.find()
    campaigns = [_load(home, name) for name in home.campaigns()]
    with console.err.status("gc"), collecting.garbage(home, campaigns, campaign, free=yes) as found:
        if yes:
            collecting.free(found)
    show_upkeep.garbage(home, found, freed=yes, as_json=as_json)


@app.command(epilog="Example: rft models HuggingFaceTB/SmolLM2-360M-Instruct")
def models(
    name: Annotated[
        str, typer.Argument(help="`embedded`, a hub id org/name or org/name@revision, a folder.")
    ] = "embedded",
) -> None:
    """Fetch a model (once) and say where it lies."""
    from rft_pipeline import models as fetching

    home = Home.find()
    show.model(fetching.resolve(name, home.models, Path.cwd()))


@app.command(epilog="Example: rft ui --dagster-port 3000 --mlflow-port 5000")
def ui(
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Serve the Dagster UI and the MLflow UI on this machine until interrupted."""
    from rft_pipeline.cli.ui import serve

    serve(Home.find(), dagster_port, mlflow_port)


def _folder(home: Home, campaign: str) -> Path:
    return home.campaign_folder(campaign)


def _round(name: str | None) -> int | None:
    """`round_2` → 2."""
    if name is None:
        return None
    number = name.removeprefix("round_")
    if not number.isdecimal():
        raise ConfigError(f"--from {name}: must be round_1, round_2, …")
    return int(number)


def _check(home: Home, campaign: str) -> None:
    from rft_pipeline.check import check_campaign
    from rft_pipeline.pipeline.log_checks import check_logs

    found = check_campaign(_folder(home, campaign), home.models, home.store)
    show.checked(found, check_logs(found.campaign, home))


def _is_sound(home: Home, campaign: str) -> bool:
    """Check one campaign of several: what is wrong is printed, and the next one follows."""
    try:
        _check(home, campaign)
    except RftError as error:
        console.fail(f"{campaign}: {error}")
        return False
    return True


def _load(home: Home, campaign: str) -> Campaign:
    return load_in_force(home, campaign)
