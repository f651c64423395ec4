"""The error classes. A message says what is wrong, where, what is allowed, and what to do."""

import re
from enum import IntEnum

_LOGIN = re.compile(r"(?i)\b(https?://)[^\s/?#'\"]*@|\b((?!https?:)[a-z][a-z\d+.-]*://)(?!user:password@)[^\s'\"]*@")
"""In a database's address everything up to the last @, since a password may contain an unescaped /."""
_PARAMETER = re.compile(
    r"(?i)([?&][\w.-]*(?:token|key|secret|sig|signature|password|passwd|pwd|credential)[\w.-]*=)[^&\s#'\"<>]+"
)


def without_secrets(text: str) -> str:
    """The text with "…" for the user and password of addresses, and for query parameters named like a key or token."""
    return _PARAMETER.sub(r"\1…", _LOGIN.sub(r"\1\2…@", text))


class Exit(IntEnum):
    """The exit codes of `rft`."""

    OK = 0
    """Done."""
    FAILED = 1
    """A run failed, or a record, model or server is missing or damaged."""
    BAD_INPUT = 2
    """A wrong command, argument, option, campaign, rubric, or file of prompts, anchors or labels."""
    REFUSED = 3
    """The evidence is against it: a refused promotion, a last round that the alarms stopped."""
    NOTHING = 4
    """Nothing to do."""
    INTERRUPTED = 130
    """Ctrl-C, or a run that was cancelled in Dagster's UI."""


class RftError(Exception):
    """Base class of all errors of this package; the command line prints them without a traceback.

    Passwords and tokens in the message are replaced, because it may quote addresses and errors of libraries.
    """

    exit_code = Exit.FAILED

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


class ConfigError(RftError):
    """An invalid campaign, rubric or setting."""

    exit_code = Exit.BAD_INPUT


class DataError(RftError):
    """An invalid file of prompts, anchors or labels."""

    exit_code = Exit.BAD_INPUT


class ModelError(RftError):
    """Weights cannot be found, loaded or trusted."""


class EngineError(RftError):
    """An engine failed to generate or score after its own retries."""


class StoreError(RftError):
    """A record or table is missing, locked, altered or not writable."""


class TrackingError(RftError):
    """MLflow could not be updated."""


class GateError(RftError):
    """The evidence does not allow it: inputs too poor to train on, a round that may not be promoted."""

    exit_code = Exit.REFUSED


class RunInterruptedError(RftError):
    """A run that Ctrl-C or Dagster's UI ended."""

    exit_code = Exit.INTERRUPTED
