"""The addresses below `/rft` on the servers of `rft ui`: pages of records, reports, and the way to the other server."""

from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from rft_pipeline.pipeline.links import LOCALHOST, RECORDS, REPORTS
from rft_pipeline.store import Home

SERVED = (".html", ".png")
"""Suffixes of the files that are served; others, e.g. weights, are not."""
SANDBOX = "sandbox allow-scripts allow-popups"
"""The Content-Security-Policy of pages: they show replies of models, and must not act in the server's name."""


class Pages(StaticFiles):
    """The pages and pictures in a folder."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if not path.endswith(SERVED):
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        response.headers["Content-Security-Policy"] = SANDBOX
        return response


def pages(home: Home) -> list[Mount]:
    """The pages and pictures of records, and the newest pages of all campaigns."""
    return [
        Mount(RECORDS, Pages(directory=home.store, check_dir=False)),
        Mount(REPORTS, Pages(directory=home.reports, check_dir=False)),
    ]


def redirect(path: str, address: str) -> Route:
    """Everything below `path` leads to another server. One on this machine is reached by the name in the request."""

    async def found(request: Request) -> RedirectResponse:
        target = urlsplit(address)
        if target.hostname == LOCALHOST and request.url.hostname:
            target = target._replace(netloc=f"{request.url.hostname}:{target.port}")
        rest = f"{target.path.rstrip('/')}/{request.path_params['rest']}"
        return RedirectResponse(target._replace(path=rest, query=request.url.query).geturl())

    return Route(f"{path}/{{rest:path}}", found)
