"""`rft labels`: export rollouts and pairs for people to judge, and import what they say."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rft_pipeline.cli import console
from rft_pipeline.cli.options import AsJson, Name, load
from rft_pipeline.store import Home

if TYPE_CHECKING:
    from rft_pipeline.campaign import Campaign
    from rft_pipeline.labels.importing import Imported
    from rft_pipeline.labels.queues import LabelQueue

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Have people label rollouts or compare replies: export a file, fill it in, import it.",
)


@app.command(epilog="Example: rft labels export support_reply --pairs 40")
def export(
    campaign: Name,
    n: Annotated[int, typer.Option("--n", min=1, help="How many rollouts to draw.")] = 60,
    out: Annotated[Path, typer.Option(help="Folder for the file.")] = Path("."),
    file_format: Annotated[Literal["csv", "jsonl"], typer.Option("--format", help="csv is for spreadsheets.")] = "csv",
    delimiter: Annotated[
        Literal[",", ";"] | None,
        typer.Option(
            help="Between the cells of the CSV; ';' for a spreadsheet of a language with decimal commas. Default: ','."
        ),
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Draw held-out replies that the promotion compares.")
    ] = False,
    pairs: Annotated[
        int | None, typer.Option("--pairs", min=1, help="Draw so many blind pairs of held-out replies instead.")
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            "--of",
            help="With --pairs: base, start, warm-start, round-1, … or champion; default: what round 1 started from.",
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="With --pairs: the other policy; default: champion or last round.")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="With --pairs: pairs of rollouts of train prompts, as references.")
    ] = False,
    from_feedback: Annotated[
        int | None,
        typer.Option("--from-feedback", min=1, help="Draw so many logged replies with users' feedback instead."),
    ] = None,
    to: Annotated[
        Literal["file", "mlflow"], typer.Option("--to", help="mlflow: a page in MLflow for each annotator.")
    ] = "file",
    annotator: Annotated[
        list[str] | None, typer.Option("--annotator", help="With --to mlflow: who labels; may be given repeatedly.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw rollouts for people to label: 50 % at random, 30 % where judges are unsure, 20 % with the highest rewards.

    With --held-out, draw held-out prompts at random, with the replies of every policy that the promotion compares.
    Their labels correct the judges in the promotion. The same command draws the same rollouts until labels of them are
    imported.

    With --pairs, draw held-out prompts at random, with one reply each of two policies, left and right without a name.
    People say which one is better; in the promotion this is the last word. With --pairs and --train, draw two rollouts
    of a train prompt each; the preferred ones are the references of `training.warm_start: {references: preferred}`.

    With --from-feedback, draw logged replies, half liked and half disliked by users; people do not see which.

    With --to mlflow, each annotator labels on a page of MLflow instead of in a file.
    """
    from rft_pipeline.campaign import load_campaign
    from rft_pipeline.cli import show_labels
    from rft_pipeline.labels.exports import draw_export
    from rft_pipeline.labels.feedback import draw_feedback
    from rft_pipeline.labels.files import write_export
    from rft_pipeline.labels.held_out import draw_held_out
    from rft_pipeline.labels.pair_files import write_pairs
    from rft_pipeline.labels.pairs import draw_pairs, draw_train_pairs
    from rft_pipeline.labels.queues import label_queues, pair_queues

    home = Home.find()
    if (to == "mlflow") != bool(annotator):
        raise typer.BadParameter("--to mlflow and --annotator NAME belong together: each annotator gets a page")
    if delimiter is not None and (to == "mlflow" or file_format != "csv"):
        raise typer.BadParameter("--delimiter is for a CSV: leave out --to mlflow and --format jsonl")
    if from_feedback is not None and (held_out or pairs is not None):
        raise typer.BadParameter("--from-feedback draws logged replies: leave out --held-out and --pairs")
    if pairs is not None:
        if held_out:
            raise typer.BadParameter("--pairs draws held-out replies too: leave out --held-out")
        if train and not (of is None and against is None):
            raise typer.BadParameter("--train draws rollouts of one round: leave out --of and --against")
        current = load(home, campaign)
        drawn_pairs = draw_train_pairs(current, home, pairs) if train else draw_pairs(current, home, pairs, of, against)
        if annotator:
            show_labels.exported_pairs(
                drawn_pairs, _pages(home, pair_queues(drawn_pairs, home, annotator)), as_json=as_json
            )
            return
        path = write_pairs(drawn_pairs, home.store, out, file_format, delimiter or ",")
        show_labels.exported_pairs(drawn_pairs, path, as_json=as_json)
        return
    if of is not None or against is not None or train:
        raise typer.BadParameter("--of, --against and --train choose the pairs of --pairs N")
    draw = draw_feedback if from_feedback is not None else draw_held_out if held_out else draw_export
    drawn = draw(load_campaign(home.campaign_folder(campaign)), home, from_feedback or n)
    if annotator:
        show_labels.exported(drawn, _pages(home, label_queues(drawn, home, annotator)), as_json=as_json)
        return
    path = write_export(drawn, home.store, out, file_format, delimiter or ",")
    show_labels.exported(drawn, path, as_json=as_json)


def _pages(home: Home, queues: "list[LabelQueue]") -> dict[str, str]:
    """The address of each annotator's page."""
    from rft_pipeline.pipeline.links import review_url

    return {queue.annotator: review_url(home, queue.experiment_id, queue.queue_id) for queue in queues}


@app.command("import", epilog="Example: rft labels import support_reply labels_support_reply_0123456789abcdef.csv")
def import_(
    campaign: Name,
    file: Annotated[
        Path | None, typer.Argument(help="A filled-in export, CSV or JSON Lines.", show_default=False)
    ] = None,
    source: Annotated[
        Literal["mlflow", "logs"] | None,
        typer.Option(
            "--from", help="Instead of a file: all answers on pages of MLflow; or users' feedback in the logs."
        ),
    ] = None,
    skip_wrong: Annotated[bool, typer.Option("--skip-wrong", help="Import only the valid rows.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import labels or answers to pairs: all rows, or none if a row is wrong. Importing twice adds nothing.

    With --from logs, read users' feedback from the logs that `feedback` in campaign.yaml names.
    """
    from rft_pipeline.campaign import load_campaign
    from rft_pipeline.cli import show_labels
    from rft_pipeline.labels.feedback import import_feedback
    from rft_pipeline.labels.importing import import_label_queues, import_labels
    from rft_pipeline.labels.pair_importing import import_pair_queues, import_pairs
    from rft_pipeline.labels.queues import queues_of
    from rft_pipeline.labels.reading import read_filled

    home = Home.find()
    if (file is None) == (source is None):
        raise typer.BadParameter("give a filled-in export, --from mlflow or --from logs")
    loaded = load_campaign(home.campaign_folder(campaign))
    said: dict[str, Any] = {"labels": None, "pairs": None, "feedback": None}
    if source == "logs":
        kept = import_feedback(loaded, home, skip_wrong=skip_wrong)
        said["feedback"] = show_labels.plain_imported_feedback(kept)
        if not as_json:
            show_labels.imported_feedback(loaded, kept)
    elif file is not None:
        filled = read_filled(file)
        if filled.has_pairs:
            done = import_pairs(loaded, home.store, filled, skip_wrong=skip_wrong)
            said["pairs"] = _said_of_pairs(campaign, home, done, as_json)
        else:
            done = import_labels(loaded, home.store, filled, skip_wrong=skip_wrong)
            said["labels"] = _said_of_labels(loaded, home, done, as_json)
    else:
        kinds = {queue.pairs for queue in queues_of(campaign, home.store)} or {False}
        read = {False: import_label_queues, True: import_pair_queues}
        writes = {pairs: read[pairs](loaded, home, skip_wrong=skip_wrong) for pairs in sorted(kinds)}
        if False in writes:
            said["labels"] = _said_of_labels(loaded, home, writes[False](), as_json)
        if True in writes:
            said["pairs"] = _said_of_pairs(campaign, home, writes[True](), as_json)
    if as_json:
        console.print_json(said)


def _said_of_labels(campaign: "Campaign", home: Home, done: "Imported", as_json: bool) -> dict[str, Any]:
    """What an import of labels says: as a value, or printed."""
    from rft_pipeline.cli import show_labels
    from rft_pipeline.labels.estimates import estimates
    from rft_pipeline.labels.held_out import prompts_labelled
    from rft_pipeline.labels.table import why_left_out

    found, left_out = estimates(campaign, home), why_left_out(campaign, home.store)
    if not as_json:
        show_labels.imported(done, found, left_out)
        show_labels.held_out(campaign, prompts_labelled(campaign, home))
    return show_labels.plain_imported(done, found, left_out)


def _said_of_pairs(campaign: str, home: Home, done: "Imported", as_json: bool) -> dict[str, Any]:
    """What an import of answers to pairs says: as a value, or printed."""
    from rft_pipeline.cli import show_labels
    from rft_pipeline.labels.preferences import current_preferences

    current = load(home, campaign)
    found = current_preferences(current, home)
    if not as_json:
        show_labels.imported_pairs(done, current, found)
    return show_labels.plain_imported_pairs(done, found)


@app.command(epilog="Example: rft labels show support_reply")
def show(campaign: Name, as_json: AsJson = False) -> None:
    """Show what people's labels and answers say so far."""
    from rft_pipeline.campaign import load_campaign
    from rft_pipeline.cli import show_labels
    from rft_pipeline.labels.estimates import estimates
    from rft_pipeline.labels.feedback import stored_feedback
    from rft_pipeline.labels.held_out import prompts_labelled
    from rft_pipeline.labels.preferences import current_preferences
    from rft_pipeline.labels.table import labels_of, why_left_out
    from rft_pipeline.progress import counted

    home = Home.find()
    loaded, current = load_campaign(home.campaign_folder(campaign)), load(home, campaign)
    found, left_out = estimates(loaded, home), why_left_out(loaded, home.store)
    preferred = current_preferences(current, home)
    feedback = stored_feedback(campaign, home.store)
    if as_json:
        show_labels.print_state(found, left_out, preferred, feedback)
        return
    labelled = prompts_labelled(loaded, home)
    if not (found or left_out or labelled or preferred.found or preferred.others or feedback):
        earlier = labels_of(loaded, home.store)["rollout_id"].n_unique()
        console.line(
            f"{counted(earlier, 'labelled rollout')} of earlier rounds, before an edit: an audit counts their labels, "
            "means of the present rounds do not"
            if earlier
            else f"no labels and no answers yet: rft labels export {campaign}"
        )
    show_labels.estimated(found, left_out)
    show_labels.held_out(loaded, labelled)
    show_labels.preferred(current, preferred)
    if feedback is not None:
        show_labels.feedback(feedback)
