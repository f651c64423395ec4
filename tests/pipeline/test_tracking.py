"""What MLflow shows of the finished tiny campaign, read through its own client from SQLite."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from rft_pipeline.campaign import load_campaign
from rft_pipeline.pipeline.links import dagster_url, mlflow_url, run_url
from rft_pipeline.pipeline.outcomes import Outcome
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.pipeline.tracking import Tracker
from rft_pipeline.stages.graph import node
from rft_pipeline.store import Home, Record, RecordStore
from tests.runs import edit, run

pytestmark = pytest.mark.shown

STEP_METRICS = {
    "train/loss",
    "train/grad_norm",
    "train/entropy",
    "train/clip_ratio",
    "train/kl_to_start",
    "train/effective_share",
    "train/learning_rate",
    "train/tokens_per_second",
}


@pytest.fixture
def client(finished_home: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=Home.find().mlflow_uri)


def experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name("tiny")
    assert found is not None
    return str(found.experiment_id)


def runs(client: MlflowClient) -> list[Run]:
    return list(client.search_runs([experiment(client)]))


def round_run(client: MlflowClient, round_: int) -> Run:
    (found,) = client.search_runs([experiment(client)], filter_string=f"tags.`rft.round` = '{round_}'")
    return found


def record(name: str) -> Record:
    found = RecordStore(Home.find().store).current(f"tiny/{name}")
    assert found is not None
    return found


def snapshot(client: MlflowClient) -> str:
    """Everything MLflow knows of the campaign, metric histories included, as text."""
    everything = []
    for each in sorted(runs(client), key=lambda run: run.info.run_id):
        histories = [client.get_metric_history(each.info.run_id, name) for name in sorted(each.data.metrics)]
        told = [
            (metric.key, metric.step, metric.value, metric.timestamp) for metrics in histories for metric in metrics
        ]
        inputs = [entry.dataset.digest for entry in each.inputs.dataset_inputs]
        artifacts = [artifact.path for artifact in client.list_artifacts(each.info.run_id)]
        everything.append([each.data.params, each.data.tags, told, inputs, artifacts, each.info.status])
    models = sorted(model.model_id for model in client.search_logged_models([experiment(client)]))
    return json.dumps([everything, models], sort_keys=True, indent=1)


def test_a_campaign_is_an_experiment_a_configuration_a_run_and_a_round_a_child_of_it(client: MlflowClient) -> None:
    (parent,) = [each for each in runs(client) if "mlflow.parentRunId" not in each.data.tags]
    children = [each for each in runs(client) if each is not parent and each.info.run_id != parent.info.run_id]
    assert parent.info.run_name in ("tiny · nothing promoted", "tiny · round 1 promoted", "tiny · round 2 promoted")
    assert parent.data.params["training.learning_rate"] == "0.001"
    assert sorted(child.info.run_name for child in children) == ["round 1", "round 2"]
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert {child.data.tags["rft.campaign"] for child in [parent, *children]} == {"tiny"}


def test_the_runs_of_a_finished_campaign_are_finished(client: MlflowClient) -> None:
    assert {each.info.status for each in runs(client)} == {"FINISHED"}


def test_until_a_promotion_the_run_is_named_by_the_round_that_was_evaluated(
    tiny_campaign: Path, finished: Path
) -> None:
    found, home = load_campaign(tiny_campaign), Home.find()
    report = RecordStore(finished / "home" / "store").current("tiny/round_1/eval_reports")
    assert report is not None

    def name_after(step: str) -> str:
        tracker = Tracker(home, found, node(found, step), {}, None)
        if step == "promotion":
            tracker.log_outcome(Outcome(1, "round 1 is better"))
        else:
            tracker.evaluated(report, {"eval_reward": 0.25})
        (parent,) = [each for each in runs(home.mlflow_client()) if "mlflow.parentRunId" not in each.data.tags]
        return str(parent.info.run_name)

    steps = ["round_1/eval_reports", "round_2/eval_reports", "promotion", "round_2/eval_reports"]
    assert [name_after(step) for step in steps] == [
        "tiny · round 1 evaluated",
        "tiny · round 2 evaluated",
        "tiny · round 1 promoted",
        "tiny · round 1 promoted",
    ]


@pytest.mark.parametrize("round_", [1, 2])
def test_every_step_is_logged_once_under_our_names_and_none_is_called_reward(client: MlflowClient, round_: int) -> None:
    run_ = round_run(client, round_)
    assert {name for name in run_.data.metrics if name.startswith("train/")} == STEP_METRICS
    lines = record(f"round_{round_}/checkpoints").path("steps.jsonl").read_text(encoding="utf-8").splitlines()
    steps = {line.pop("step"): line for line in map(json.loads, lines)}
    assert list(steps) == [1, 2]
    for name in STEP_METRICS:
        history = {metric.step: metric.value for metric in client.get_metric_history(run_.info.run_id, name)}
        assert history == {step: values[name.removeprefix("train/")] for step, values in steps.items()}
        assert len(client.get_metric_history(run_.info.run_id, name)) == 2


def test_the_parent_run_has_a_curve_from_the_baseline_over_the_rounds_for_the_reward_and_each_criterion(
    client: MlflowClient,
) -> None:
    (parent,) = [each for each in runs(client) if "mlflow.parentRunId" not in each.data.tags]
    made = {round_: record(f"round_{round_}/eval_reports").metrics for round_ in (1, 2)}
    base = json.loads(record("round_1/eval_reports").path("report.json").read_text(encoding="utf-8"))["rounds"][0]
    for name in ("reward", "polite", "relevant", "says_enough", "has_an_e"):
        history = {each.step: each.value for each in client.get_metric_history(parent.info.run_id, f"eval/{name}")}
        baseline = base["reward"] if name == "reward" else base["criteria"][name]["mean"]
        assert history == {0: baseline, **{round_: metrics[f"eval_{name}"] for round_, metrics in made.items()}}


def test_the_experiment_opens_on_training_runs_and_says_what_they_are(client: MlflowClient) -> None:
    tags = client.get_experiment(experiment(client)).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    decided, _, links, *_ = tags["mlflow.note.content"].splitlines()
    pages, stages = "/rft/dagster/rft/reports/tiny", "/rft/dagster/locations/rft_pipeline/jobs/tiny"
    assert decided.startswith("[round 1 is promoted over base: reward ")
    assert decided.endswith(f"]({pages}.promotion.html)")
    assert links == f"[Newest report]({pages}.html) · [Replies]({pages}.rounds.html) · [Stages in Dagster]({stages})"


def test_the_reward_batch_is_the_dataset_that_a_round_trained_on(client: MlflowClient) -> None:
    (entry,) = round_run(client, 1).inputs.dataset_inputs
    batch = record("round_1/reward_batches")
    assert entry.dataset.name == "tiny/round_1/reward_batches"
    assert entry.dataset.digest == batch.content_hash
    assert json.loads(entry.dataset.source)["uri"] == str(batch.path("reward_batches.parquet"))
    assert json.loads(entry.dataset.profile)["groups_used"] == 4
    assert [(tag.key, tag.value) for tag in entry.tags] == [("mlflow.data.context", "training")]


def test_the_checkpoint_is_a_logged_model_that_points_to_the_store_and_holds_no_weights(client: MlflowClient) -> None:
    models = {model.name: model for model in client.search_logged_models([experiment(client)])}
    assert set(models) == {"round-1", "round-2"}
    model, made = models["round-1"], record("round_1/checkpoints")
    assert Path(model.tags["rft.folder"]) == made.folder / "checkpoint"
    assert Path(model.tags["rft.folder"], "model.safetensors").is_file()
    assert model.tags["rft.fingerprint"] == made.fingerprint
    assert model.tags["mlflow.model.isExternal"] == "true"
    assert model.source_run_id == round_run(client, 1).info.run_id
    assert (str(model.status), model.model_type) == ("READY", "full")
    assert model.params["training/learning_rate"] == "0.001"
    artifacts = [path for path in (Home.find().root / "mlartifacts").rglob("*") if path.is_file()]
    pages = {"MLmodel", "report.html", "report.json", "rounds.html", "promotion.html", "promotion.json"}
    assert pages <= {path.name for path in artifacts}
    assert {path.suffix for path in artifacts} <= {"", ".html", ".json", ".png"}  # copies of this home log here too


def test_the_parent_run_has_a_handful_of_tags(client: MlflowClient) -> None:
    (parent,) = [each for each in runs(client) if "mlflow.parentRunId" not in each.data.tags]
    tags = {name for name in parent.data.tags if not name.startswith("mlflow.")}
    assert tags == {"rft.campaign", "rft.config", "rft.records", "rft.promoted", "rft.decision", "dagster.run_id"}
    shown = [record(name).address for name in ("prompts", "rubric", "policy", "labels", "promotion")]
    assert parent.data.tags["rft.records"].split() == shown


def test_descriptions_begin_with_what_was_decided_and_link_the_pages(client: MlflowClient) -> None:
    (parent,) = [each for each in runs(client) if "mlflow.parentRunId" not in each.data.tags]
    pages = f"#/experiments/{experiment(client)}/runs"

    def page(run_: Run, file: str) -> str:
        return f"({pages}/{run_.info.run_id}/artifacts/{file}?workflowType=machine_learning)"

    decided, _, links, _, *table = parent.data.tags["mlflow.note.content"].splitlines()
    assert decided == f"**{parent.data.tags['rft.decision']}**"
    assert links.split(" · ") == [
        f"[Promotion]{page(parent, 'promotion.html')}",
        *(f"[Report of round {round_}]{page(round_run(client, round_), 'report.html')}" for round_ in (1, 2)),
        f"[Dagster run](/rft/dagster/runs/{parent.data.tags['dagster.run_id']})",
    ]
    promotion = record("promotion")
    made_from = "<br>".join(f"`{address}`" for address in promotion.upstream.values())
    row = f"| [promotion](/rft/dagster/assets/tiny/promotion) | `{promotion.address}` | {made_from} |"
    assert table[-1] == row
    own = round_run(client, 1)
    assert own.data.tags["mlflow.note.content"].startswith(f"[Report]{page(own, 'report.html')} · [Dagster run](")


def test_tags_lead_to_the_dagster_run_and_the_records_of_a_round_and_what_they_were_made_from(
    client: MlflowClient,
) -> None:
    tags = round_run(client, 2).data.tags
    made = record("round_2/checkpoints")
    assert made.address in tags["rft.records"].split()
    assert tags["dagster.run_id"] == made.dagster_run_id
    assert made.mlflow_run_id == round_run(client, 2).info.run_id
    made_from = [record(name).address for name in ("round_1/checkpoints", "round_2/reward_batches")]
    assert all(f"`{address}`" in tags["mlflow.note.content"] for address in made_from)
    assert not any(name.startswith("rft.upstream") for name in tags)


def test_the_report_is_an_artifact_of_its_round(client: MlflowClient) -> None:
    for round_ in (1, 2):
        names = {artifact.path for artifact in client.list_artifacts(round_run(client, round_).info.run_id)}
        assert {name for name in names if not name.endswith(".png")} == {"report.html", "report.json", "rounds.html"}
        assert "reward.png" in names


def test_running_cached_stages_again_adds_nothing(finished_copy: Path) -> None:
    client = MlflowClient(tracking_uri=Home.find().mlflow_uri)
    before = snapshot(client)
    records = run(finished_copy)
    assert snapshot(client) == before
    assert records["round_1/rollouts"].mlflow_run_id == round_run(client, 1).info.run_id


def test_another_configuration_is_another_run_which_shows_what_it_shares(finished_copy: Path) -> None:
    edit(finished_copy / "campaign.yaml", "evaluation.resamples", 200)
    client = MlflowClient(tracking_uri=Home.find().mlflow_uri)
    old = round_run(client, 1)
    records = run(finished_copy, ["prompts", "policy", "round_1/rollouts", "round_1/checkpoints"])
    assert all(made.cached for made in records.values())
    new = client.get_run(str(records["round_1/checkpoints"].mlflow_run_id))
    assert new.info.run_id != old.info.run_id
    assert {name: new.data.metrics[name] for name in STEP_METRICS} == {
        name: old.data.metrics[name] for name in STEP_METRICS
    }
    assert new.data.params == old.data.params
    assert new.data.tags["dagster.run_id"] == old.data.tags["dagster.run_id"]


def test_other_prompts_are_another_run(finished_copy: Path) -> None:
    path = finished_copy / "prompts" / "train.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("lamp", "sofa"), encoding="utf-8")
    client = MlflowClient(tracking_uri=Home.find().mlflow_uri)
    before = {each.info.run_id for each in runs(client)}
    assert run(finished_copy, ["prompts"])["prompts"].mlflow_run_id not in before


def test_nothing_secret_is_told(tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "MY_SETTING"):
        monkeypatch.setenv(name, f"hush-{name}")
    run(tiny_campaign, ["prompts", "rubric", "policy", "round_1/rollouts"])
    told = snapshot(MlflowClient(tracking_uri=Home.find().mlflow_uri))
    assert "hush-" not in told
    assert "tiny/round_1/rollouts" in told
    for path in (Home.find().store / "tiny").rglob("record.json"):
        assert "hush-" not in path.read_text(encoding="utf-8")


def test_tracking_leaves_the_environment_as_it_was(finished: Path) -> None:
    import mlflow

    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert str(finished) not in mlflow.get_tracking_uri()


def test_links_lead_where_the_environment_says(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    home, run_id = Home.find(), round_run(client, 1).info.run_id
    page = f"/#/runs/{run_id}?workflowType=machine_learning"
    assert run_url(home, run_id) == f"http://127.0.0.1:5000{page}"
    monkeypatch.setenv("RFT_MLFLOW_URL", "http://127.0.0.1:5001")
    monkeypatch.setenv("RFT_DAGSTER_URL", "https://dagster.example")
    assert run_url(home, run_id) == f"http://127.0.0.1:5001{page}"
    assert dagster_url() == "https://dagster.example"
    monkeypatch.delenv("RFT_MLFLOW_URL")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    assert mlflow_url(home) == "https://mlflow.example"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example:8080/base")
    assert mlflow_url(home) == "https://mlflow.example:8080/base"


def test_a_record_with_many_upstream_records_is_logged(finished_copy: Path) -> None:
    home, campaign = Home.find(), load_campaign(finished_copy)
    here = node(campaign, "round_2/eval_reports")
    record = RecordStore(home.store).current(here.key)
    assert record is not None
    many = {f"judge_scores_{round_}": record.address for round_ in range(1, 151)}
    tracker = Tracker(home, campaign, here, source_hashes(campaign, home, fetch=False), None)
    run_id = tracker.log_record(replace(record, fingerprint="other", upstream=many))
    tags = MlflowClient(tracking_uri=home.mlflow_uri).get_run(run_id).data.tags
    assert f"{record.address.rpartition('/')[0]}/other" in tags["rft.records"].split()
