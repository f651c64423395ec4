"""Steps end with the run that started them, so that its memory and locks are free."""

import functools
import os
import threading
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess


@functools.cache
def end_with_parent() -> None:
    """In a step's own process: end when the process that runs the job ends. In any other process: do nothing.

    A stage may be stopped at any moment: a record is complete or absent, and rows are appended in whole commits.
    """
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
