"""One end of the conversation between a reply's process and that of its tests: requests in turns, values as data."""

import collections
import datetime
import decimal
import fractions
import json
import os
from collections.abc import Callable
from typing import Any

LONGEST = 300
"""Characters of a text in a message."""
Message = list[Any]

_BY_TEXT: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "decimal": (decimal.Decimal, str, decimal.Decimal),
    "fraction": (fractions.Fraction, str, fractions.Fraction),
    "datetime": (datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "complex": (complex, repr, complex),
}
"""Tag → type, its value as text, and back."""
_PARTS: dict[str, type[tuple[Any, ...]] | type[set[Any]] | type[frozenset[Any]]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}
_PLAIN = (bool, int, float, str)


class GoneError(BaseException):
    """The other side answers no more. No `except Exception` in a test takes this for an error that it expects."""


class Channel:
    """Lines of JSON over what were standard input and output, which then lead nowhere."""

    def __init__(self) -> None:
        self._reads = os.fdopen(os.dup(0), "rb")
        self._writes = os.fdopen(os.dup(1), "wb")
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nowhere, standard)

    def send(self, message: Any) -> None:
        self._writes.write(json.dumps(message).encode() + b"\n")
        self._writes.flush()

    def receive(self) -> Message:
        line = self._reads.readline()
        if not line:
            os._exit(0)
        message: Message = json.loads(line)
        return message


class Peer:
    """One end; while it waits for an answer, it serves the other side's requests."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.shared: list[Any] = []
        """What the other side may name, by number."""

    def share(self, value: Any) -> int:
        self.shared.append(value)
        return len(self.shared) - 1

    def request(self, *message: Any) -> Message:
        self.channel.send(["ask", *message])
        while True:
            kind, *rest = self.channel.receive()
            if kind == "ask":
                self.channel.send(self.served(*rest))
            elif kind == "gone":
                raise GoneError(rest[0])
            elif kind == "raised":
                raise self.error(*rest)
            else:
                return rest

    def served(self, *message: Any) -> Message:
        try:
            return ["answer", *self.serve(*message)]
        except Exception as error:
            return ["raised", [each.__name__ for each in type(error).__mro__], safe_text(error)]
        except GoneError:
            raise
        except BaseException as error:  # e.g. SystemExit: an error for the caller, not the end of the process
            return ["raised", ["RuntimeError"], f"{type(error).__name__}: {safe_text(error)}"]

    def serve(self, *message: Any) -> tuple[Any, ...]:
        raise NotImplementedError

    def error(self, names: list[str], text: str) -> Exception:
        raise NotImplementedError

    def encode_other(self, value: Any) -> Any:
        raise NotImplementedError

    def decode_other(self, tag: str, of: Any, data: dict[str, Any]) -> Any:
        raise NotImplementedError

    def encode(self, value: Any) -> Any:
        if value is None:
            return None
        for plain in _PLAIN:
            if isinstance(value, plain):
                return plain(value)  # of a subclass too
        if isinstance(value, list):
            return [self.encode(each) for each in value]
        if isinstance(value, dict):
            return {"": "dict", "of": [[self.encode(key), self.encode(each)] for key, each in value.items()]}
        for tag, kind in _PARTS.items():
            if isinstance(value, kind):
                return {"": tag, "of": [self.encode(each) for each in value]}
        if isinstance(value, collections.deque):
            return {"": "deque", "of": [[self.encode(each) for each in value], value.maxlen]}
        for tag, (kind, text, _) in _BY_TEXT.items():
            if isinstance(value, kind):
                return {"": tag, "of": text(value)}
        return self.encode_other(value)

    def decode(self, data: Any) -> Any:
        if isinstance(data, list):
            return [self.decode(each) for each in data]
        if not isinstance(data, dict):
            return data
        tag, of = data[""], data["of"]
        if tag == "dict":
            return {self.decode(key): self.decode(each) for key, each in of}
        if tag in _PARTS:
            return _PARTS[tag](self.decode(each) for each in of)
        if tag == "deque":
            return collections.deque(self.decode(of[0]), of[1])
        if tag in _BY_TEXT:
            return _BY_TEXT[tag][2](of)
        return self.decode_other(tag, of, data)


def safe_text(value: Any) -> str:
    try:
        return str(value)[:LONGEST]
    except BaseException:
        return ""
