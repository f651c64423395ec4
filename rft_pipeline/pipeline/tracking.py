"""MLflow: one experiment a campaign, one parent run a configuration, one child run a round.

A configuration is everything that determines results: settings, prompts, models and code versions. A run is found by
its tags, so a killed or repeated Dagster run continues the same MLflow run. A stage logs its record; training steps are
logged live as well. Weights stay in the store: MLflow gets a model that points to them.
"""

import json
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from filelock import FileLock

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.cycles import Cycle, cycle_of
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.pipeline.links import REPORTS, in_mlflow
from rft_pipeline.pipeline.outcomes import Outcome
from rft_pipeline.pipeline.run_notes import DAGSTER_RUN, DECISION, PAGES, RECORDS, ROUND, records_in, run_note
from rft_pipeline.pipeline.sources import DECIDING
from rft_pipeline.report.markdown import plain
from rft_pipeline.report.published import PROMOTION
from rft_pipeline.stages import STAGES, Node
from rft_pipeline.store import Home, Record
from rft_pipeline.store.records import STEPS
from rft_pipeline.strict import flattened

if TYPE_CHECKING:
    from mlflow import MlflowClient

MLFLOW_RUN_NOTE = "mlflow.note.content"
"""The tag that MLflow shows as the run's description."""
PROMOTED = "rft.promoted"
"""The tag of a parent run with the round that its promotion made champion, or none."""
TRAIN, EVAL = "train/", "eval/"
"""The prefixes of step metrics of a round's run, and of metrics by round of the parent run."""
PARENT = "mlflow.parentRunId"
EXPERIMENT_KIND = "mlflow.experimentKind"
"""The tag by which MLflow opens an experiment on its training runs."""
EXPLANATION = (
    "A parent run is one configuration: its curves have the round as step. Its child runs are the rounds: training "
    "curves step by step, and `report.html` among the artifacts."
)
"""The end of the experiment's description."""
LONGEST_PARAMETER = 200
"""Letters of a setting that becomes a parameter."""


class Tracker:
    """Logs one stage of one campaign."""

    def __init__(
        self, home: Home, campaign: Campaign, node: Node, sources: Mapping[str, str], dagster_run_id: str | None
    ) -> None:
        self.home = home
        self.campaign = campaign
        self.node = node
        self.sources = sources
        self.dagster_run_id = dagster_run_id

    @cached_property
    def run_id(self) -> str:
        """The MLflow run of this node: its round's run; the parent run for a stage that belongs to no round."""
        if STAGES[self.node.stage].scope != "round":
            return self._parent
        tags = {PARENT: self._parent, ROUND: str(self.node.round)}
        return self._find_or_create(f"{self._cycle_name}round {self.node.round}", tags)

    @cached_property
    def _parent(self) -> str:
        return self._find_or_create(self._parent_name("unfinished"), {"rft.config": self._config_id}, self._settings())

    def _parent_name(self, state: str) -> str:
        """What a person reads in the list of runs."""
        return f"{self.campaign.name} · {self._cycle_name}{state}"

    def _settings(self) -> dict[str, str]:
        """The campaign's settings that determine results and are short, as parameters."""
        flat = flattened({name: each for name, each in self.campaign.identity.items() if name != "rubric"})
        return {name: text for name, text in flat.items() if len(text) <= LONGEST_PARAMETER}

    @cached_property
    def _cycle(self) -> Cycle | None:
        return cycle_of(self.campaign, self.home)

    @property
    def _cycle_name(self) -> str:
        if self._cycle is None:
            return ""
        return f"cycle {self._cycle.number} {'' if self._cycle.edit is None else '(edit) '}"

    def log_step(self, step: int, metrics: dict[str, float]) -> None:
        """Log one optimiser step's metrics, unless a killed run logged them before."""
        if step not in self._steps_logged:
            self._log_numbers({TRAIN + name: value for name, value in metrics.items()}, step)

    @cached_property
    def _steps_logged(self) -> set[int]:
        return {metric.step for metric in self._client.get_metric_history(self.run_id, f"{TRAIN}loss")}

    def log_record(self, record: Record) -> str:
        """Log a record's numbers and links into the node's run, once; returns the run's id."""
        if record.address not in self._client.get_run(self.run_id).data.tags.get(RECORDS, "").split():
            self.artifacts(record, *(path.name for path in sorted(record.folder.glob("*.png"))))
            STAGES[self.node.stage].track(record, self)
            self._log_links(record)
        return self.run_id

    def log_outcome(self, outcome: Outcome) -> None:
        """Log the outcome of a promotion's decision, which a person can change without a new record."""
        tags = self._client.get_run(self.run_id).data.tags
        if (tags.get(PROMOTED), tags.get(DECISION)) != (outcome.round_name, outcome.summary):
            self._log_tags({PROMOTED: outcome.round_name, DECISION: outcome.summary})
            self._client.update_run(self.run_id, name=self._parent_name(outcome.in_brief))
            note = self._client.get_experiment(self._experiment).tags.get(MLFLOW_RUN_NOTE, "")
            if note.endswith(EXPLANATION):  # a person may have written another one
                self._client.set_experiment_tag(self._experiment, MLFLOW_RUN_NOTE, self._about(outcome.summary))

    def _log_links(self, record: Record) -> None:
        """Log which record a run shows and the Dagster run. The description names what each record was made from."""
        made_in = record.dagster_run_id or self.dagster_run_id
        tags = {} if made_in is None else {DAGSTER_RUN: made_in}
        with self._alone():
            shown = {**records_in(self._client.get_run(self.run_id).data.tags), self.node.stage: record.address}
            self._log_tags({**tags, RECORDS: " ".join(shown.values())})

    def _log_tags(self, tags: Mapping[str, str]) -> None:
        """Log tags, and the descriptions made from them: that of the run, and that of the parent run, which links the
        pages of its rounds."""
        from mlflow.entities import RunTag

        client, parent = self._client, self._parent
        client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        if self.run_id == parent or self.node.stage in PAGES:
            rounds = client.search_runs([self._experiment], filter_string=f"tags.`{PARENT}` = '{parent}'")
            client.set_tag(parent, MLFLOW_RUN_NOTE, run_note(self.home, client.get_run(parent), rounds))
        if self.run_id != parent:
            client.set_tag(self.run_id, MLFLOW_RUN_NOTE, run_note(self.home, client.get_run(self.run_id)))

    def evaluated(self, record: Record, baseline: Mapping[str, float]) -> None:
        """Log the numbers of an eval report into the parent run, with the round as step, and those of the baseline as
        step 0: one curve a criterion. Until a promotion is decided, the run is named by the round."""
        if self.node.round == 1:
            self._log_eval(baseline, 0)
        self._log_eval(record.metrics, self.node.round)
        if PROMOTED not in self._client.get_run(self._parent).data.tags:
            self._client.update_run(self._parent, name=self._parent_name(f"round {self.node.round} evaluated"))

    def _log_eval(self, metrics: Mapping[str, float], round_: int) -> None:
        numbers = {EVAL + name.removeprefix("eval_"): number for name, number in metrics.items()}
        self._log_numbers(numbers, round_, self._parent)

    def _log_numbers(self, numbers: Mapping[str, float], step: int, run_id: str | None = None) -> None:
        """Log metrics together: each call is a write to the disk, or a request to the server."""
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        metrics = [Metric(name, number, now, step) for name, number in numbers.items()]
        self._client.log_batch(run_id or self.run_id, metrics=metrics)

    def artifacts(self, record: Record, *names: str) -> None:
        """Log files of a record."""
        for name in names:
            self._client.log_artifact(self.run_id, str(record.path(name)))

    def finish(self) -> None:
        """End the round's run, and with the last round the campaign's."""
        self._client.set_terminated(self.run_id)
        if self.node.round == self.campaign.rounds:
            self._client.set_terminated(self._parent)

    def dataset(self, record: Record, file: str) -> None:
        """Log a table of a record as training data."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = {"uri": str(record.path(file))}
        dataset = Dataset(
            name=record.key,
            digest=record.content_hash,
            source_type="local",
            source=json.dumps(source),
            profile=json.dumps(record.rows),
        )
        self._client.log_inputs(
            self.run_id, datasets=[DatasetInput(dataset, tags=[InputTag("mlflow.data.context", "training")])]
        )

    def checkpoint(self, record: Record) -> None:
        """Log the settings, the steps and the model of a checkpoint."""
        from mlflow.entities import Param

        settings = {f"training/{key}": str(value) for key, value in record.payload["settings"].items()}
        self._client.log_batch(self.run_id, params=[Param(key, value) for key, value in settings.items()])
        if record.cached:
            for line in record.path(STEPS).read_text(encoding="utf-8").splitlines():
                metrics = json.loads(line)
                self.log_step(metrics.pop("step"), metrics)
        self._log_model(record, settings)

    def _log_model(self, record: Record, settings: dict[str, str]) -> None:
        """Log a model whose weights stay in the store.

        `mlflow.create_external_model` does the same, but sets the tracking URI of the process and its children.
        """
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus
        from mlflow.models.utils import get_external_mlflow_model_spec

        model = self._client.create_logged_model(
            self._experiment,
            name=_model_name(self.node, self._cycle),
            source_run_id=self.run_id,
            tags={
                "mlflow.model.isExternal": "true",
                "rft.fingerprint": record.fingerprint,
                "rft.folder": str(record.folder / "checkpoint"),
            },
            params=settings,
            model_type=str(record.payload["settings"]["weights"]),
        )
        with tempfile.TemporaryDirectory() as scratch:
            get_external_mlflow_model_spec(model).save(str(Path(scratch) / "MLmodel"))
            self._client.log_model_artifacts(model.model_id, scratch)
        self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        self._client.log_outputs(self.run_id, [LoggedModelOutput(model.model_id, step=record.rows["steps"])])

    @cached_property
    def _config_id(self) -> str:
        sources = {name: content for name, content in self.sources.items() if not name.startswith(DECIDING)}
        return fingerprint([self.campaign.identity, sources, {name: stage.version for name, stage in STAGES.items()}])

    @cached_property
    def _client(self) -> "MlflowClient":
        self.home.root.mkdir(parents=True, exist_ok=True)
        with self._alone():
            return self.home.mlflow_client()

    def _alone(self) -> FileLock:
        """Held while a database, experiment or run may have to be created: two steps of one run start together."""
        return FileLock(self.home.root / "mlflow.lock")

    @cached_property
    def _experiment(self) -> str:
        client = self._client
        with self._alone():
            found = client.get_experiment_by_name(self.campaign.name)
            if found is not None:
                return str(found.experiment_id)
            return client.create_experiment(
                self.campaign.name,
                artifact_location=self.home.mlflow_artifacts,
                tags={EXPERIMENT_KIND: "custom_model_development", MLFLOW_RUN_NOTE: self._about()},
            )

    def _about(self, decision: str = "") -> str:
        """The experiment's description, of which MLflow shows the first line: what was decided last and why, as a link
        to the page of the promotion."""
        name = self.campaign.name
        pages = in_mlflow(self.home, f"{REPORTS.removeprefix('/')}/{quote(name)}")
        stages = in_mlflow(self.home, f"locations/rft_pipeline/jobs/{name}")
        links = f"[Newest report]({pages}.html) · [Replies]({pages}.rounds.html) · [Stages in Dagster]({stages})"
        headline = [f"[{plain(decision)}]({pages}{PROMOTION})"] if decision else []
        return "\n\n".join([*headline, links, plain(self.campaign.description), EXPLANATION])

    def _find_or_create(self, name: str, tags: dict[str, str], params: Mapping[str, str] | None = None) -> str:
        where = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        client, experiment = self._client, self._experiment
        with self._alone():
            found = client.search_runs([experiment], filter_string=where, max_results=1)
            if found:
                return str(found[0].info.run_id)
            about = {"rft.campaign": self.campaign.name}
            if self._cycle is not None:
                about |= {tag.replace("/", "."): value for tag, value in self._cycle.tags.items()}
            run = client.create_run(experiment, tags={**tags, **about}, run_name=name)
            if params:
                from mlflow.entities import Param

                client.log_batch(run.info.run_id, params=[Param(key, value) for key, value in params.items()])
            return str(run.info.run_id)


def _model_name(node: Node, cycle: Cycle | None) -> str:
    own = f"round-{node.round}" if node.round else node.stage.replace("_", "-")
    return own if cycle is None else f"cycle-{cycle.number}-{own}"
