"""`rft`, and of the time its user waits how much is our own code's, Dagster's and MLflow's.

A thread looks at the main thread's stack every few milliseconds. A look belongs to the innermost frame that is ours
(`rft_pipeline`, `assets`), Dagster's or MLflow's: polars, pydantic or an import count for whoever called them. The time
between two looks goes to the later one's owner; while a library holds the interpreter's lock nobody can look, and that
whole time goes to its caller. Prints one JSON object last: seconds by owner.
"""

import json
import sys
import threading
import time
from collections import defaultdict
from types import FrameType

LOOK_EVERY = 0.004
"""Seconds between two looks."""


def owner(frame: FrameType | None) -> str:
    """`ours`, `Dagster`, `MLflow`, or `Python` where none of them is at work, e.g. at exit."""
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in ("rft_pipeline", "assets"):
            return "ours"
        if package == "mlflow":
            return "MLflow"
        if package.startswith("dagster"):
            return "Dagster"
        frame = frame.f_back
    return "Python"


class Looks(threading.Thread):
    """Adds up the main thread's seconds by owner until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.main = threading.get_ident()
        self.stop = threading.Event()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def run(self) -> None:
        last = time.perf_counter()
        while not self.stop.wait(LOOK_EVERY):
            whose = owner(sys._current_frames().get(self.main))
            now = time.perf_counter()
            self.seconds[whose] += now - last
            last = now


def main() -> None:
    looks = Looks()
    looks.start()
    try:
        from rft_pipeline.cli.app import app

        app(standalone_mode=False)
    finally:
        looks.stop.set()
        looks.join()
        print(json.dumps({name: round(seconds, 3) for name, seconds in looks.seconds.items()}))


if __name__ == "__main__":
    main()
