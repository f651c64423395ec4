"""One family of errors. A message says what was wrong, where, what is allowed, and what to do."""

import re

_LOGIN = re.compile(r"(?i)\b(https?://)[^\s/?#'\"]*@|\b((?!https?:)[a-z][a-z\d+.-]*://)(?!user:password@)[^\s'\"]*@")
"""Of a database's address everything up to the last @: its password may hold a / that nobody escaped."""
_PARAMETER = re.compile(
    r"(?i)([?&][\w.-]*(?:token|key|secret|sig|signature|password|passwd|pwd|credential)[\w.-]*=)[^&\s#'\"<>]+"
)


def without_secrets(text: str) -> str:
    """The text with the user and password of every address in it, and the values of query parameters that are named
    like a key or token, replaced by "…"."""
    return _PARAMETER.sub(r"\1…", _LOGIN.sub(r"\1\2…@", text))


class RftError(Exception):
    """Base of every error this package raises on purpose; the command line prints it without a traceback.

    A message may quote addresses and the errors of libraries: passwords and tokens in them are replaced.
    """

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


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
