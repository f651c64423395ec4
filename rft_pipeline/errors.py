"""One family of errors. A message says what was wrong, where, what is allowed, and what to do."""


class RftError(Exception):
    """Base of every error this package raises on purpose; the command line prints it without a traceback."""


class ConfigError(RftError):
    """A campaign, rubric or setting that cannot be used as written."""


class DataError(RftError):
    """A file of prompts, anchors or labels with a row that cannot be used."""


class ModelError(RftError):
    """Weights that cannot be found, loaded or trusted."""


class EngineError(RftError):
    """An engine that failed to generate or score after its own retries."""


class StoreError(RftError):
    """A record or table that is missing, locked, altered or cannot be written."""


class TrackingError(RftError):
    """MLflow, where it could not be told what the store holds."""


class GateError(RftError):
    """Results too poor to go on with: the stage refuses rather than train on them."""
