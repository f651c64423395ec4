"""The description of an MLflow run: what was decided, links to its pages, and the records that it shows."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rft_pipeline.pipeline.links import artifact_page, asset_path, dagster_run_path, in_mlflow
from rft_pipeline.report.markdown import plain
from rft_pipeline.stages import STAGES
from rft_pipeline.store import Home, RecordStore

if TYPE_CHECKING:
    from mlflow.entities import Run

RECORDS = "rft.records"
"""A run's tag with the addresses of its records, separated by spaces."""
DECISION = "rft.decision"
"""A parent run's tag with the decision of its promotion in words."""
DAGSTER_RUN = "dagster.run_id"
"""A run's tag with the id of the Dagster run that logged last."""
ROUND = "rft.round"
"""The tag with the number of a round's run."""
PAGES = {"eval_reports": "Report", "promotion": "Promotion", "judge_audit": "Judge audit"}
"""Stage with pages → the title of its main page."""


def run_note(home: Home, run: "Run", rounds: Sequence["Run"] = ()) -> str:
    """The description of a run as Markdown; `rounds` are the runs of a parent run's rounds.

    MLflow shows the addresses in tags as plain text, and of a long description only the first lines.
    """
    tags = run.data.tags
    numbered = {_number(each): each for each in rounds}
    reports = [link for number in sorted(numbered) for link in _pages(numbered[number], f" of round {number}")]
    links = [*_pages(run), *reports]
    if DAGSTER_RUN in tags:
        links.append(f"[Dagster run]({in_mlflow(home, dagster_run_path(tags[DAGSTER_RUN]))})")
    lines = [*([f"**{plain(tags[DECISION])}**", ""] if DECISION in tags else []), " · ".join(links), ""]
    return "\n".join([*lines, *_records(home, records_in(tags))])


def records_in(tags: Mapping[str, str]) -> dict[str, str]:
    """Stage → address of the record, in the order of the pipeline, from a run's tags."""
    found = {address.split("/")[-2]: address for address in tags.get(RECORDS, "").split()}
    return {stage: found[stage] for stage in STAGES if stage in found}


def _number(run: "Run") -> int:
    return int(run.data.tags[ROUND])


def _pages(run: "Run", of: str = "") -> list[str]:
    """Links to the main page of each stage that has pages."""
    page = partial(artifact_page, run.info.experiment_id, run.info.run_id)
    return [
        f"[{PAGES[stage]}{of}]({page(next(iter(STAGES[stage].pages)))})"
        for stage in records_in(run.data.tags)
        if stage in PAGES
    ]


def _records(home: Home, shown: Mapping[str, str]) -> list[str]:
    """A table of the records, each with its asset and what it was made from."""
    records = RecordStore(home.store)
    lines = ["| stage | record | made from |", "|---|---|---|"]
    for stage, address in shown.items():
        record = records.at(address)
        made_from = "<br>".join(f"`{above}`" for above in ({} if record is None else record.upstream).values())
        asset = in_mlflow(home, asset_path(address.rpartition("/")[0]))
        lines.append(f"| [{stage}]({asset}) | `{address}` | {made_from} |")
    return lines
