"""The app of MLflow's server (`mlflow server --app-name rft`): MLflow's own, and the way to Dagster."""

from mlflow.server.fastapi_app import app

from rft_pipeline.pipeline.links import DAGSTER, dagster_url
from rft_pipeline.servers.routes import redirect

__all__ = ["app"]

app.router.routes.insert(0, redirect(DAGSTER, dagster_url()))
