"""The app of MLflow's server (`mlflow server --app-name rft`): MLflow's own, opened on training runs, and the way to
Dagster.

MLflow shows an experiment in one of two modes, for agents or for training. A browser that never chose one gets the
first, whatever the experiment's tag says, and so an empty page. It also gets a panel of an assistant that needs a
language model, and a note that usage data are sent, which they are not (MLFLOW_DISABLE_TELEMETRY).
"""

import json
from pathlib import Path

from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import app
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from rft_pipeline.pipeline.links import DAGSTER, MODE, dagster_url
from rft_pipeline.servers.routes import redirect

__all__ = ["app"]

CHOICES = {
    "mlflow.workflowType_v1": MODE,
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True,
    "mlflow.telemetry.info.alert.dismissed_v1": True,
    "mlflow.settings.telemetry.enabled_v1": False,
}
"""Where MLflow's page stores what a person chose, in the browser: the mode, whether the assistant opened by itself
before, whether the note was closed, whether usage data are sent."""
CHOOSE = (
    f"<script>for (const [key, value] of Object.entries({json.dumps(CHOICES)})) "
    "localStorage.getItem(key) ?? localStorage.setItem(key, JSON.stringify(value))</script>"
)


async def index(_: Request) -> HTMLResponse:
    """MLflow's page, with these choices unless a person made others."""
    page = Path(str(flask_app.static_folder), "index.html").read_text(encoding="utf-8")
    return HTMLResponse(page.replace("<head>", f"<head>{CHOOSE}", 1))


app.router.routes[:0] = [Route("/", index), redirect(DAGSTER, dagster_url())]
