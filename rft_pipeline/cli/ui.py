"""`rft ui`."""

import json
import os
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from rft_pipeline.cli.console import out
from rft_pipeline.files import replace_text
from rft_pipeline.store import Home

LOGS = "logs"
"""The folder in a home with what the servers print."""


def ui(
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Serve the Dagster UI (with its daemon) and the MLflow UI on this machine until interrupted.

    What they print is written to `logs/` in the home. If MLFLOW_TRACKING_URI names a tracking server, no MLflow UI is
    started.
    """
    from rft_pipeline.pipeline.links import ADDRESSES, LOCALHOST, REPORTS, asset_url, is_remote, mlflow_url
    from rft_pipeline.pipeline.outcomes import verdicts
    from rft_pipeline.report.published import INDEX
    from rft_pipeline.runs import dagster_home
    from rft_pipeline.servers.commands import commands

    home = Home.find()
    addresses = {
        "RFT_DAGSTER_URL": f"http://{LOCALHOST}:{dagster_port}",
        "RFT_MLFLOW_URL": mlflow_url(home) if is_remote(home) else f"http://{LOCALHOST}:{mlflow_port}",
    }
    addresses |= {name: os.environ[name] for name in addresses if name in os.environ}
    environment = {
        **os.environ,
        **addresses,
        **dagster_home.prepare(home),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its runners take memory and have nothing to do here
        "MLFLOW_BACKEND_STORE_URI": home.mlflow_uri,  # an argument would show its password to every local user
    }
    replace_text(home.root / ADDRESSES, json.dumps(addresses))
    out.print(f"Dagster  {addresses['RFT_DAGSTER_URL']}")
    out.print(f"MLflow   {addresses['RFT_MLFLOW_URL']}")
    out.print(f"Reports  {addresses['RFT_DAGSTER_URL']}{REPORTS}/{INDEX}")
    for campaign, said in verdicts(home).items():
        out.print(f"{escape(campaign)}: {said}; why: {asset_url(f'{campaign}/promotion')}", soft_wrap=True)
    out.print(f"[dim]what they print: {escape(str(home.root / LOGS))}; Ctrl-C stops them[/]", soft_wrap=True)
    with tempfile.TemporaryDirectory() as scratch:
        _supervise(home, commands(home, Path(scratch), dagster_port, mlflow_port), environment)


def _supervise(home: Home, commands: dict[str, list[str]], environment: dict[str, str]) -> None:
    """Keep these processes running until a signal comes, and then end them."""
    from rft_pipeline.runs import code_location
    from rft_pipeline.servers.commands import CODE_SERVER
    from rft_pipeline.servers.supervised import PageServer, stop

    _, folder = code_location.find(home)
    logs = home.root / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    for ends in (signal.SIGTERM, signal.SIGHUP):  # a service that stops, a terminal that closes
        signal.signal(ends, signal.default_int_handler)
    servers: list[PageServer] = []
    try:
        for name, arguments in commands.items():
            log = logs / f"{name.lower().replace(' ', '_')}.log"
            through_child = name == CODE_SERVER
            servers.append(PageServer(name, arguments, environment, folder, log, through_child=through_child))
        while True:
            for server in servers:
                if said := server.keep_running():
                    out.print(said)
            time.sleep(0.5)
    except KeyboardInterrupt:
        with suppress(OSError):  # the terminal may be closed
            out.print("stopping")
    finally:
        for again in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a second one must not leave a server behind
            signal.signal(again, signal.SIG_IGN)
        stop(servers)
