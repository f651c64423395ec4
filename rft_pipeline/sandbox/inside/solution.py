"""The reply's process: runs its code, and does what the tests ask."""

import builtins
import collections.abc
import contextlib
import operator
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

from rft_pipeline.sandbox.inside.peer import Channel, Peer, safe_text

FUNCTIONS: dict[str, Any] = {
    "__len__": len,
    "__iter__": iter,
    "__next__": next,
    "__bool__": bool,
    "__str__": str,
    "__repr__": repr,
    "__hash__": hash,
    "__int__": int,
    "__float__": float,
}
"""What the tests may do with an object, next to the functions of the module `operator`."""


class Solution(Peer):
    """The reply's end."""

    def __init__(self, channel: Channel, module: types.ModuleType) -> None:
        super().__init__(channel)
        self.module = module

    def serve(self, operation: str, target: int, args: list[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The result, and the new value of each argument that was changed in place, by its position."""
        on = self.shared[target]
        values = [self.decode(each) for each in args]
        named = {key: self.decode(each) for key, each in kwargs.items()}
        result: Any = None
        match operation:
            case "call":
                result = on(*values, **named)
            case "attribute":
                result = getattr(on, *values)
            case "set":
                setattr(on, *values)
            case "isinstance":
                result = isinstance(values[0], on)
            case _:
                result = (FUNCTIONS.get(operation) or getattr(operator, operation))(on, *values)
        answer = self.encode(result)
        after = [(place, self.encode(each)) for place, each in enumerate(values) if isinstance(each, list | dict | set)]
        return answer, [(place, data) for place, data in after if data != args[place]]

    def encode_other(self, value: Any) -> Any:
        kind = "function" if callable(value) else "object"
        if isinstance(value, type):
            kind = "class"
        elif isinstance(value, collections.abc.Iterator):
            kind = "iterator"
        return {"": kind, "of": self.share(value), "class": type(value).__name__}

    def decode_other(self, tag: str, of: Any, data: dict[str, Any]) -> Any:
        if tag == "mine":
            return self.shared[of]
        return lambda *args: self.decode(self.request(of, [self.encode(each) for each in args])[0])

    def error(self, names: list[str], text: str) -> Exception:
        known = getattr(builtins, names[0], None)
        return known(text) if isinstance(known, type) and issubclass(known, Exception) else RuntimeError(text)

    def names(self) -> Iterator[tuple[str, str, Any]]:
        """The module's public names as (name, kind, value); of an exception class, the names of its bases."""
        for name, value in list(vars(self.module).items()):
            if name.startswith("_") or isinstance(value, types.ModuleType):
                continue
            if isinstance(value, type) and issubclass(value, BaseException):
                yield name, "exception", [each.__name__ for each in value.__mro__]
            else:
                with contextlib.suppress(Exception):
                    yield name, "value", self.encode(value)


def run(channel: Channel, settings: dict[str, Any]) -> None:
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    try:
        exec(compile(settings["code"], "solution.py", "exec"), module.__dict__)
        peer = Solution(channel, module)
        names = list(peer.names())
    except BaseException as error:
        channel.send(["broken", f"{type(error).__name__}: {safe_text(error)}"])
        os._exit(0)
    channel.send(["names", names])
    while True:
        _, *message = channel.receive()
        channel.send(peer.served(*message))
