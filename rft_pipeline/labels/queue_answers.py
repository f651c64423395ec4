"""Reads people's answers from the review queues of MLflow, in the form of a file's rows.

The newest answer to a question counts, whatever the status of its item. Not read: answers to a question that no longer
has the exported text, and what no person of the page could have answered.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rft_pipeline.errors import ConfigError
from rft_pipeline.labels.page import NOTE, PageQuestion
from rft_pipeline.labels.queues import LabelQueue, experiment_of, mlflow_errors, queues_of
from rft_pipeline.labels.reading import PlacedRow, is_empty
from rft_pipeline.store import Home

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Answer:
    """One answer to one question."""

    queue: LabelQueue
    trace: str
    question: str
    cell: Any
    note: str
    when: int
    """In milliseconds."""


@dataclass(frozen=True)
class Answers:
    """What the queues of a campaign contain."""

    newest: list[Answer]
    empty: int
    """Items without an answer."""
    left_out: list[str]
    """Which answers were not read, and why."""

    def rows(self, key: str) -> list[PlacedRow]:
        """A row per answer; `key` is the column with the ids of the items."""
        return [
            (
                f"{each.queue.annotator}, trace {each.trace}",
                {
                    key: each.queue.items[each.trace],
                    "annotator": each.queue.annotator,
                    "export": each.queue.export,
                    "note": each.note,
                    each.question: each.cell,
                },
            )
            for each in self.newest
        ]


def answers_in_mlflow(campaign: str, home: Home, *, pairs: bool, outdated: Collection[tuple[str, str]] = ()) -> Answers:
    """The newest answer of each annotator to each question about each item, over all exports. Answers to `outdated`
    exports' questions (export id, name) count only where there is no other.

    Raises `ConfigError` if nothing was exported to MLflow, `TrackingError` if MLflow cannot be read.
    """
    queues = [queue for queue in queues_of(campaign, home.store) if queue.pairs == pairs]
    if not queues:
        what = " --pairs 40" if pairs else ""
        raise ConfigError(
            f"{campaign} has no export to MLflow: rft labels export {campaign}{what} --to mlflow --annotator NAME"
        )

    def rank(answer: Answer) -> tuple[bool, int]:
        return (answer.queue.export, answer.question) not in outdated, answer.when

    newest: dict[tuple[str, str, str], Answer] = {}
    left_out: list[str] = []
    items: set[tuple[str, str]] = set()
    with mlflow_errors(home):
        client = home.mlflow_client()
        for queue in queues:
            items |= {(queue.annotator, key) for key in queue.items.values()}
            for answer in _answers_of(queue, client, home, left_out):
                item = queue.annotator, queue.items[answer.trace], answer.question
                if item not in newest or rank(newest[item]) <= rank(answer):
                    newest[item] = answer
    given = [each for each in newest.values() if not is_empty(each.cell)]
    answered = {(each.queue.annotator, each.queue.items[each.trace]) for each in given}
    return Answers(given, len(items - answered), left_out)


def _answers_of(queue: LabelQueue, client: "MlflowClient", home: Home, left_out: list[str]) -> Iterator[Answer]:
    """The answers of one queue; appends to `left_out`."""
    experiment = experiment_of(client, queue)
    if experiment is None or experiment.lifecycle_stage == "deleted":
        left_out.append(
            f"all of {queue.annotator} to export {queue.export}: MLflow at {home.mlflow_uri} does not have experiment "
            f"{queue.experiment_id}; it was deleted, or MLFLOW_TRACKING_URI is another one"
        )
        return
    asked = {question.name: question for question in queue.questions.values()}
    changed = _changed_questions(queue, client)
    skipped: Counter[tuple[str, str]] = Counter()
    for trace, assessments in _assessments(queue, client):
        note = next((str(each.feedback.value or "") for each in _valid(assessments) if each.name == NOTE), "")
        for each in _valid(assessments):
            if each.name == NOTE:
                continue
            if each.name not in asked:
                skipped[each.name, "the export has no such question"] += 1
            elif each.name in changed:
                skipped[each.name, changed[each.name]] += 1
            else:
                value = each.feedback.value
                cell = asked[each.name].options.get(value, value) if isinstance(value, str) else value
                yield Answer(queue, trace, each.name, cell, note, each.last_update_time_ms)
    for (name, why), count in sorted(skipped.items()):
        answers = "1 answer" if count == 1 else f"{count} answers"
        left_out.append(f"{answers} of {queue.annotator} to {name} (export {queue.export}): {why}")


def _valid(assessments: Sequence[Any]) -> list[Any]:
    """The answers of people that no later answer replaced, newest first."""
    found = [
        each
        for each in assessments
        if each.valid is not False and each.feedback is not None and each.source.source_type == "HUMAN"
    ]
    return sorted(found, key=lambda each: each.last_update_time_ms, reverse=True)


def _changed_questions(queue: LabelQueue, client: "MlflowClient") -> dict[str, str]:
    """What happened to the questions that the page no longer asks as exported, by name."""
    from mlflow.tracing.client import TracingClient

    tracing, token = TracingClient(client.tracking_uri), None
    now: dict[str, PageQuestion] = {}
    while token != "":
        page = tracing._list_label_schemas(queue.experiment_id, max_results=100, page_token=token)
        now |= {each.schema_id: _as_asked(each) for each in page}
        token = page.token or ""
    return {
        exported.name: f"the page now asks {_shown(now.get(id_))}, and the export {_shown(exported)}; restore the text"
        for id_, exported in queue.questions.items()
        if exported.name != NOTE and _shown(now.get(id_)) != _shown(exported)
    }


def _as_asked(schema: Any) -> PageQuestion:
    """A question as MLflow has it."""
    options = getattr(schema.input, "options", None) or [
        getattr(schema.input, name, "") for name in ("positive_label", "negative_label")
    ]
    return PageQuestion(schema.name, schema.instruction or "", dict.fromkeys(options, ""))


def _shown(question: PageQuestion | None) -> str:
    """A question with its answers; nothing for one that was deleted."""
    if question is None:
        return "nothing"
    return f"“{' '.join([question.name, question.text])}” ({', '.join(question.options or ('Yes', 'No'))})"


def _assessments(queue: LabelQueue, client: "MlflowClient") -> Iterator[tuple[str, list[Any]]]:
    """The traces of a queue with what was said about them."""
    token: str | None = None
    while token != "":
        page = client.search_traces(
            locations=[queue.experiment_id], max_results=500, page_token=token, include_spans=False
        )
        yield from ((each.info.trace_id, each.info.assessments) for each in page if each.info.trace_id in queue.items)
        token = page.token or ""
