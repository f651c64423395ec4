"""Review queues of MLflow: one experiment per export and annotator, with a trace per item and a queue of all traces.

Without authentication everybody is the same user in MLflow, and an item of a shared queue is done for all once one
person answered it. So who labelled is said by the experiment. Its traces have a random id and two texts, nothing else.
`<store>/<campaign>/label_queues/<id>.json` maps traces to rollouts and keeps the questions as they were asked.
"""

import json
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from rft_pipeline.campaign.addresses import readable_prompt
from rft_pipeline.errors import ConfigError, TrackingError
from rft_pipeline.files import replace_text
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.exports import Export, drawn_rows
from rft_pipeline.labels.page import (
    LONGEST_NAME,
    NOTE,
    PREFERRED,
    PageItem,
    PageQuestion,
    as_shown,
    label_page,
    question_from,
)
from rft_pipeline.labels.pairs import PairExport, pair_rows
from rft_pipeline.store import Home
from rft_pipeline.store.home import quiet_mlflow
from rft_pipeline.store.shared import publish

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

FOLDER = "label_queues"
RECORD_TAG = "rft.labels"
"""The tag by which a record recognizes its experiment; the number of an experiment may mean another one elsewhere."""
_EVERYBODY = "default"
"""MLflow's user without authentication."""
_HOW = (
    "Open the review queue of this experiment, press Start review, and answer what you can tell; leave the other "
    "questions open. You can change an answer later."
)


@dataclass(frozen=True)
class LabelQueue:
    """The queue of one annotator for one export."""

    id: str
    campaign: str
    export: str
    pairs: bool
    """Whether the export is one of blind pairs."""
    annotator: str
    experiment_id: str
    queue_id: str
    questions: dict[str, PageQuestion]
    """By MLflow's id of the question, in the order of the page."""
    items: dict[str, str]
    """The key of each item by its trace, in the order of the page."""


def open_queue(
    home: Home,
    campaign: str,
    export: str,
    annotator: str,
    questions: Sequence[PageQuestion],
    items: Sequence[PageItem],
    *,
    pairs: bool = False,
) -> LabelQueue:
    """Create the queue, or return it if MLflow still has it.

    Raises `ConfigError` for an annotator's name that MLflow cannot hold, `TrackingError` if MLflow cannot be updated;
    then nothing of it remains there.
    """
    name = f"Labels · {campaign} · {annotator} · {export}"
    if not annotator.strip() or annotator != annotator.strip() or len(name) > LONGEST_NAME:
        raise ConfigError(f"--annotator {annotator!r}: must be a name of up to 100 letters, without spaces around it")
    id_ = fingerprint(["label queue", campaign, export, annotator])
    path = home.store / campaign / FOLDER / f"{id_}.json"
    with mlflow_errors(home):
        client = home.mlflow_client()
        known = queue_at(path) if path.is_file() else None
        if known is not None and (experiment := experiment_of(client, known)) is not None:
            if experiment.lifecycle_stage == "deleted":
                client.restore_experiment(experiment.experiment_id)
            return known
        if (unfinished := client.get_experiment_by_name(name)) is not None:
            _discard(client, unfinished.experiment_id)
        about = {"mlflow.experimentKind": "genai_development", "mlflow.note.content": _HOW, RECORD_TAG: id_}
        experiment_id = client.create_experiment(name, artifact_location=home.mlflow_artifacts, tags=about)
        try:
            queue_id, asked, traces = _filled(client, experiment_id, annotator, questions, items)
        except BaseException:
            _discard(client, experiment_id)
            raise
    queue = LabelQueue(id_, campaign, export, pairs, annotator, experiment_id, queue_id, asked, traces)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(asdict(queue), indent=2, ensure_ascii=False) + "\n")
    publish(path)
    return queue


def queues_of(campaign: str, store: Path) -> list[LabelQueue]:
    """A campaign's queues, ordered by annotator and export."""
    found = [queue_at(path) for path in (store / campaign / FOLDER).glob("*.json")]
    return sorted(found, key=lambda queue: (queue.annotator, queue.export))


def queue_at(path: Path) -> LabelQueue:
    """The queue of a JSON file."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    return LabelQueue(
        **{**stored, "questions": {id_: question_from(each) for id_, each in stored["questions"].items()}}
    )


def experiment_of(client: "MlflowClient", queue: LabelQueue) -> "Experiment | None":
    """The experiment of a queue, which may be deleted but restorable; None if this MLflow does not have it."""
    from mlflow.entities import ViewType

    found = client.search_experiments(ViewType.ALL, filter_string=f"tags.`{RECORD_TAG}` = '{queue.id}'")
    return next((each for each in found if each.experiment_id == queue.experiment_id), None)


@contextmanager
def mlflow_errors(home: Home) -> Iterator[None]:
    """Turns an error of MLflow into a `TrackingError`."""
    home.root.mkdir(parents=True, exist_ok=True)
    quiet_mlflow()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise TrackingError(
            f"MLflow at {home.mlflow_uri} failed: {error}\nReview queues need MLflow 3.14 or newer, and databases "
            "other than SQLite hold at most 1,000 characters of a prompt or reply. The CSV has no such limits"
        ) from error


def _filled(
    client: "MlflowClient",
    experiment: str,
    annotator: str,
    questions: Sequence[PageQuestion],
    items: Sequence[PageItem],
) -> tuple[str, dict[str, PageQuestion], dict[str, str]]:
    """Adds questions, traces and the queue: the queue's id, the questions by id, the items' keys by trace."""
    from mlflow.tracing.client import TracingClient

    # The public functions of `mlflow.genai` call these methods too, but only with the process's own tracking URI.
    tracing = TracingClient(client.tracking_uri)
    asked = _ask(tracing, experiment, [*questions, PageQuestion(NOTE, "Anything worth saying? (optional)")])
    traces = _show(tracing, experiment, items)
    users = [annotator, _EVERYBODY]
    queue = tracing._create_review_queue(
        experiment, name=f"Replies for {annotator}", queue_type="custom", users=users, schema_ids=list(asked)
    )
    tracing._add_items_to_review_queue(queue.queue_id, item_ids=list(traces))
    return queue.queue_id, asked, traces


def _ask(tracing: Any, experiment: str, questions: Sequence[PageQuestion]) -> dict[str, PageQuestion]:
    """Creates the questions. The page shows the newest first, so the last one is created first."""
    from mlflow.genai.label_schemas import InputCategorical, InputPassFail, InputText

    created: dict[str, PageQuestion] = {}
    for question in reversed(questions):
        choice = InputCategorical(options=list(question.options)) if question.options else InputPassFail("Yes", "No")
        schema = tracing._create_label_schema(
            experiment_id=experiment,
            name=question.name,
            type="feedback",
            input=InputText() if question.name == NOTE else choice,
            instruction=question.text or None,
            enable_comment=False,
        )
        created[schema.schema_id] = question
        time.sleep(0.002)  # two questions of one millisecond have no order
    return dict(reversed(created.items()))


def _show(tracing: Any, experiment: str, items: Sequence[PageItem]) -> dict[str, str]:
    """Creates a trace of two texts for each item. The page shows the newest first, so each is older than the one
    before it."""
    from mlflow.entities import TraceInfo, TraceLocation, TraceState

    now = int(time.time() * 1000)
    keys: dict[str, str] = {}
    spans = []
    for place, item in enumerate(items):
        hex_id, started = uuid4().hex, now - 1000 * place
        tracing.start_trace(
            TraceInfo(
                trace_id=f"tr-{hex_id}",
                trace_location=TraceLocation.from_experiment_id(experiment),
                request_time=started,
                execution_duration=0,
                state=TraceState.OK,
                request_preview=as_shown(item.request),
                response_preview=as_shown(item.response),
            )
        )
        spans.append(_empty_span(hex_id, started))
        keys[f"tr-{hex_id}"] = item.key
    tracing.log_spans(experiment, spans)
    return keys


def _empty_span(hex_id: str, started: int) -> Any:
    """A span without content, since the page shows no trace that has none; times in milliseconds."""
    from mlflow.entities import Span

    return Span.from_dict(
        {
            "trace_id": b64encode(bytes.fromhex(hex_id)).decode(),
            "span_id": b64encode(bytes.fromhex(hex_id)[:8]).decode(),
            "parent_span_id": None,
            "name": "reply",
            "start_time_unix_nano": started * 1_000_000,
            "end_time_unix_nano": started * 1_000_000,
            "events": [],
            "status": {"code": "STATUS_CODE_OK", "message": ""},
            "attributes": {"mlflow.traceRequestId": json.dumps(f"tr-{hex_id}")},
        }
    )


def _discard(client: "MlflowClient", experiment: str) -> None:
    """Delete an unfinished experiment under another name, so that its own is free."""
    if client.get_experiment(experiment).lifecycle_stage == "deleted":
        client.restore_experiment(experiment)
    client.rename_experiment(experiment, f"unfinished labels {uuid4().hex}")
    client.delete_experiment(experiment)


def label_queues(export: Export, home: Home, annotators: Sequence[str]) -> list[LabelQueue]:
    """A queue of the drawn replies for each annotator. Raises as `open_queue`, and for questions that MLflow cannot
    hold."""
    rows = drawn_rows(export, home.store).select("rollout_id", "messages", "completion").iter_rows()
    items = [PageItem(key, readable_prompt(messages), completion) for key, messages, completion in rows]
    questions = label_page(export.criteria)
    return [open_queue(home, export.campaign, export.id, each, questions, items) for each in dict.fromkeys(annotators)]


def pair_queues(export: PairExport, home: Home, annotators: Sequence[str]) -> list[LabelQueue]:
    """A queue of the drawn pairs for each annotator. Raises as `open_queue`."""
    rows = pair_rows(export, home.store).select("pair_id", "messages", "left_reply", "right_reply").iter_rows()
    items = [
        PageItem(key, readable_prompt(messages), f"LEFT\n{_barred(left)}\n\nRIGHT\n{_barred(right)}")
        for key, messages, left, right in rows
    ]
    return [
        open_queue(home, export.campaign, export.id, each, [PREFERRED], items, pairs=True)
        for each in dict.fromkeys(annotators)
    ]


def _barred(reply: str) -> str:
    """A reply with a bar before each line, so that no reply can look like the other one."""
    return "\n".join(f"│ {each}" for each in reply.splitlines() or [""])
