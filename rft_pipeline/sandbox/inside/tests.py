"""The tests' process. What the reply returns is data or a stub here: none of its code runs in this process."""

import ast
import builtins
import contextlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from rft_pipeline.sandbox.inside.peer import LONGEST, Channel, GoneError, Peer, safe_text

_COMPARE = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__")
_OPERATORS = (
    *("__len__", "__iter__", "__next__", "__bool__", "__str__", "__repr__", "__hash__", "__int__", "__float__"),
    *("__getitem__", "__setitem__", "__delitem__", "__contains__", "__add__", "__sub__", "__mul__", "__truediv__"),
    *("__floordiv__", "__mod__", "__pow__", "__and__", "__or__", "__xor__", "__neg__", "__abs__"),
)


class Tests(Peer):
    """The tests' end. `mentioned`: the names in the tests."""

    def __init__(self, channel: Channel, mentioned: set[str]) -> None:
        super().__init__(channel)
        self.mentioned = mentioned
        self.exceptions: dict[str, type[Exception]] = {}
        self.last = ""
        """The last result, in words."""

    def serve(self, number: int, args: list[Any]) -> tuple[Any, ...]:
        return (self.encode(self.shared[number](*(self.decode(each) for each in args))),)

    def ask(self, operation: str, target: int, *args: Any, **kwargs: Any) -> Any:
        sent = [self.encode(each) for each in args]
        named = {key: self.encode(each) for key, each in kwargs.items()}
        answer, changes = self.request(operation, target, sent, named)
        for place, data in changes:
            _replace(args[place], self.decode(data))
        return self.decode(answer)

    def encode_other(self, value: Any) -> Any:
        if isinstance(value, Remote):
            return {"": "mine", "of": value.__dict__["_target"]}
        if callable(value):
            return {"": "callback", "of": self.share(value)}
        raise TypeError(f"a test can pass data and functions to the reply, not a {type(value).__name__}")

    def decode_other(self, tag: str, of: Any, data: dict[str, Any]) -> Any:
        """A stub. An object of a class that the tests do not name is refused, since its operators would decide."""
        name = safe_text(data["class"])
        kind = Object if tag == "class" or name in self.mentioned else _STUBS.get(tag)
        if kind is None or not isinstance(of, int):
            raise TypeError(f"an object of the class {name} was returned, which is not data")
        return kind(self, of, name)

    def error(self, names: list[str], text: str) -> Exception:
        for name in names:
            known = self.exceptions.get(name) or getattr(builtins, str(name), None)
            if isinstance(known, type) and issubclass(known, Exception):
                return known(safe_text(text))
        return RuntimeError(safe_text(text))

    def stubs(self, names: list[tuple[str, str, Any]]) -> dict[str, Any]:
        """The reply's names, as the tests see them. A process may say anything: what is no public name is left out."""
        found: dict[str, Any] = {}
        for name, kind, data in names:
            if not name.isidentifier() or name.startswith("_"):
                continue
            with contextlib.suppress(Exception):
                if kind == "exception":
                    base = type(self.error(data[1:], ""))
                    found[name] = self.exceptions[name] = type(name, (base,), {})
                    continue
                found[name] = self.decode(data)
                if isinstance(found[name], Remote):
                    found[name].__dict__["_label"] = name
        return found


class Remote:
    """A stub of something in the reply's process."""

    def __init__(self, peer: Tests, target: int, label: str) -> None:
        self.__dict__.update(_peer=peer, _target=target, _label=label)

    def _ask(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        return self.__dict__["_peer"].ask(operation, self.__dict__["_target"], *args, **kwargs)


class Function(Remote):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        peer, label = self.__dict__["_peer"], self.__dict__["_label"]
        peer.last = ""
        result = self._ask("call", *args, **kwargs)
        if not isinstance(result, Remote):
            peer.last = f"{label} returned {safe_text(repr(result))}"
        return result


class Steps(Remote):
    """An iterator or a generator."""

    def __iter__(self) -> "Steps":
        return self

    def __next__(self) -> Any:
        return self._ask("__next__")


class Object(Function):
    """A class, or an object of a class that the tests name: its own operators decide, but not `==` with data."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = self._ask("attribute", name)
        if isinstance(found, Remote):
            found.__dict__["_label"] = f"{self.__dict__['_label']}.{name}"
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("set", name, value)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, Remote) and self._ask("isinstance", instance) is True


def _operator(name: str) -> Callable[..., Any]:
    def method(self: Object, *args: Any) -> Any:
        if name in _COMPARE and not isinstance(args[0], Object):
            return NotImplemented
        return self._ask(name, *args)

    return method


for _name in (*_COMPARE, *_OPERATORS):
    setattr(Object, _name, _operator(_name))
_STUBS: dict[str, type[Remote]] = {"function": Function, "iterator": Steps}


def _replace(value: Any, new: Any) -> None:
    """Make a list, dict or set hold what the reply left in its copy."""
    if isinstance(value, list):
        value[:] = new
    else:
        value.clear()
        value.update(new)


@contextlib.contextmanager
def raises(*kinds: type[BaseException]) -> Iterator[None]:
    """`with raises(ValueError): f(-1)` passes if the block raises such an error."""
    try:
        yield
    except kinds:
        return
    raise AssertionError(f"{' or '.join(each.__name__ for each in kinds)} was not raised")


def run(channel: Channel, settings: dict[str, Any]) -> None:
    tests: list[str] = settings["tests"]
    peer = Tests(channel, {name for test in tests for node in ast.walk(ast.parse(test)) for name in _names(node)})
    try:
        stubs = peer.stubs(channel.receive()[1])
    except Exception:  # not what our own code in the reply's process writes
        stubs = {}
    module = types.ModuleType("solution")
    module.__dict__.update(stubs)
    sys.modules["solution"] = module
    # a builtin keeps its meaning: no reply says what `abs` or `sorted` is in a test
    space = {name: value for name, value in stubs.items() if not hasattr(builtins, name)}
    space |= {"__name__": "tests", "raises": raises}
    for number, test in enumerate(tests, start=1):
        peer.last = ""
        try:
            exec(compile(test, f"test {number}", "exec"), space)
        except BaseException as error:
            channel.send(["test", False, f"test {number}: {_explained(error, test, number, peer.last)}"])
        else:
            channel.send(["test", True, ""])
    channel.send(["done"])


def _names(node: ast.AST) -> Iterator[str]:
    """The names in a node of the tests: of variables, attributes and imports."""
    yield from (str(getattr(node, key)) for key in ("id", "attr") if hasattr(node, key))
    if isinstance(node, ast.ImportFrom):
        yield from (each.name for each in node.names)


def _explained(error: BaseException, test: str, number: int, last: str) -> str:
    if isinstance(error, GoneError):
        return safe_text(error)
    line, place = "", error.__traceback__
    while place is not None:
        if place.tb_frame.f_code.co_filename == f"test {number}":
            line = test.splitlines()[place.tb_lineno - 1].strip()[:LONGEST]
        place = place.tb_next
    if isinstance(error, AssertionError):
        return "; ".join(part for part in (safe_text(error), line, last) if part)
    return f"{type(error).__name__}: {safe_text(error)}; {line}"
