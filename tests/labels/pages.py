"""Queues of the finished tiny campaign in MLflow, answered as MLflow's page does it."""

from typing import Any

from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, Feedback
from mlflow.tracing.client import TracingClient

from rft_pipeline.campaign import load_campaign
from rft_pipeline.labels.exports import Export, draw_export
from rft_pipeline.labels.importing import Imported, import_label_queues
from rft_pipeline.labels.queues import LabelQueue, label_queues
from rft_pipeline.store import Home


def drawn(n: int = 4) -> Export:
    home = Home.find()
    return draw_export(load_campaign(home.campaign_folder("tiny")), home, n)


def opened(export: Export, *annotators: str) -> list[LabelQueue]:
    return label_queues(export, Home.find(), annotators)


def taken(*, skip_wrong: bool = False) -> Imported:
    home = Home.find()
    return import_label_queues(load_campaign(home.campaign_folder("tiny")), home, skip_wrong=skip_wrong)()


def client() -> MlflowClient:
    return Home.find().mlflow_client()


def tracing() -> TracingClient:
    return TracingClient(client().tracking_uri)


def answer(queue: LabelQueue, place: int, when: int = 0, by: str = "HUMAN", **answers: Any) -> None:
    """Answer questions about an item at `when`, in milliseconds, and leave its status as it is."""
    trace = list(queue.items)[place]
    for name, value in answers.items():
        source = AssessmentSource(source_type=by, source_id="default")
        said = Feedback(
            name=name, value=value, source=source, trace_id=trace, create_time_ms=when, last_update_time_ms=when
        )
        tracing().log_assessment(trace, said)


def question_id(queue: LabelQueue, name: str) -> str:
    return next(id_ for id_, question in queue.questions.items() if question.name == name)
