"""What the server of steps imports once: each step of a run is forked from it, starts fast and frees its memory when it
ends.

Imports leave no garbage, and looking for it takes a third of their time; what they made is not garbage later either.
"""

import gc
import os
from importlib import import_module

MODULES = (
    "dagster._core.executor.multiprocess",
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "scipy.stats",
    "dagster._core.secrets.env_file",
    "dagster._core.storage.sqlite_storage",
    "upath.implementations.local",
    "mlflow.store.tracking.sqlalchemy_store",
    "rft_pipeline.engines.transformers",
    "rft_pipeline.trainers.session",
    "rft_pipeline.pipeline.runner",
    "rft_pipeline.report.page",
)
"""Those among them too that libraries import at their first use."""


SHAPES_KEPT = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
"""For how many shapes of a product oneDNN keeps the code that it has made: by default 1,024, some hundred MB in a round
in generations, where few shapes come again."""


def _import() -> None:
    os.environ.setdefault(SHAPES_KEPT, "128")
    gc.disable()
    try:
        for name in MODULES:
            import_module(name)
    finally:
        gc.freeze()
        gc.enable()


_import()
