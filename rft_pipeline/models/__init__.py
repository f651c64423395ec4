"""Models: where weights come from (embedded, hub, folder, champion), and how checkpoints are loaded and written."""

from rft_pipeline.models.embedded import EMBEDDED, EMBEDDED_FOLDER, HUB_ID
from rft_pipeline.models.installed import Model, alone, content_hash
from rft_pipeline.models.merging import MANIFEST
from rft_pipeline.models.resolve import (
    CHECKPOINT,
    MERGED,
    SERVED,
    champion_of,
    folder_of,
    identify,
    installed,
    known,
    no_model,
    promoted,
    refuse_changed,
    resolve,
    trained,
    versions,
)

__all__ = [
    "CHECKPOINT",
    "EMBEDDED",
    "EMBEDDED_FOLDER",
    "HUB_ID",
    "MANIFEST",
    "MERGED",
    "SERVED",
    "Model",
    "alone",
    "champion_of",
    "content_hash",
    "folder_of",
    "identify",
    "installed",
    "known",
    "no_model",
    "promoted",
    "refuse_changed",
    "resolve",
    "trained",
    "versions",
]
