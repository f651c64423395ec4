"""The error classes. A message says what is wrong, where, what is allowed, and what to do."""

import re

_LOGIN = re.compile(r"(?i)\b(https?://)[^\s/?#'\"]*@|\b((?!https?:)[a-z][a-z\d+.-]*://)(?!user:password@)[^\s'\"]*@")
"""In a database's address everything up to the last @, since a password may contain an unescaped /."""
_PARAMETER = re.compile(
    r"(?i)([?&][\w.-]*(?:token|key|secret|sig|signature|password|passwd|pwd|credential)[\w.-]*=)[^&\s#'\"<>]+"
)


def without_secrets(text: str) -> str:
    """The text with "…" for the user and password of addresses, and for query parameters named like a key or token."""
    return _PARAMETER.sub(r"\1…", _LOGIN.sub(r"\1\2…@", text))


class RftError(Exception):
    """Base class of all errors of this package; the command line prints them without a traceback.

    Passwords and tokens in the message are replaced, because it may quote addresses and errors of libraries.
    """

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


class ConfigError(RftError):
    """An invalid campaign, rubric or setting."""


class DataError(RftError):
    """An invalid file of prompts, anchors or labels."""


class ModelError(RftError):
    """Weights cannot be found, loaded or trusted."""


class EngineError(RftError):
    """An engine failed to generate or score after its own retries."""


class StoreError(RftError):
    """A record or table is missing, locked, altered or not writable."""


class TrackingError(RftError):
    """MLflow could not be updated."""


class GateError(RftError):
    """The inputs of a stage are too poor to train on."""
