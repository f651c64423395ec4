"""Work that runs at the same time, each piece in a thread of its own."""

from collections.abc import Callable, Iterable, Mapping
from threading import Thread

import polars as pl

Tasks = Mapping[str, Callable[[], pl.DataFrame]]
"""Tasks by name, which run one after the other."""


class Together:
    """Threads that are started at once. They are daemons, so they never keep an interrupted process alive."""

    def __init__(self, tasks: Iterable[Tasks]) -> None:
        """Start a thread for each of `tasks`."""
        prepared = list(tasks)
        self.names = [name for each in prepared for name in each]
        self._found: dict[str, pl.DataFrame] = {}
        self._errors: dict[str, BaseException] = {}
        self._threads = [Thread(target=self._run, args=(each,), daemon=True) for each in prepared]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Until all tasks have ended."""
        for thread in self._threads:
            thread.join()

    def results(self) -> dict[str, pl.DataFrame]:
        """Wait; the results by name. Raises the error of the first task that failed, in the order given."""
        self.wait()
        for name in self.names:
            if name in self._errors:
                raise self._errors[name]
        return self._found

    def _run(self, tasks: Tasks) -> None:
        for name, task in tasks.items():
            try:
                self._found[name] = task()
            except BaseException as error:  # raised again by `results`
                self._errors[name] = error
                return
