"""The app of MLflow's server (`mlflow server --app-name rft`): MLflow's own, opened on training runs, and the way to
Dagster.

MLflow shows an experiment in one of two modes, for agents or for training. A browser that never chose one gets the
first, whatever the experiment's tag says, and so an empty page.
"""

from pathlib import Path

from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import app
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from rft_pipeline.pipeline.links import DAGSTER, MODE, dagster_url
from rft_pipeline.servers.routes import redirect

__all__ = ["app"]

CHOICE = "mlflow.workflowType_v1"
"""Where MLflow's page stores the mode that a person chose, in the browser."""
CHOOSE = f"""<script>localStorage.getItem("{CHOICE}") ?? localStorage.setItem("{CHOICE}", '"{MODE}"')</script>"""


async def index(_: Request) -> HTMLResponse:
    """MLflow's page, with the mode for training unless a person chose another one."""
    page = Path(str(flask_app.static_folder), "index.html").read_text(encoding="utf-8")
    return HTMLResponse(page.replace("<head>", f"<head>{CHOOSE}", 1))


app.router.routes[:0] = [Route("/", index), redirect(DAGSTER, dagster_url())]
