"""A step must not outlive its run: whoever killed the run wants its memory and its locks back."""

import functools
import os
import threading
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess


@functools.cache
def end_with_parent() -> None:
    """In a step's own process: end when the process that runs the job does. Elsewhere: nothing.

    A stage may be ended at any moment, since a record is whole or absent and rows are appended in whole commits.
    """
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
