"""A user's own Python code, in the campaign's folder or an installed package, identified by its source."""

import functools
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from rft_pipeline.errors import ConfigError
from rft_pipeline.fingerprint import file_sha256
from rft_pipeline.strict import Spelled, Strict


class Code(Strict):
    """A function or class, written as `module:attribute`, with the hash of its file as part of the identity.

    The module is in the rubric's folder or installed. No code runs before `load`, which runs exactly the hashed bytes.
    Modules that it imports are not part of the hash.
    """

    path: Annotated[str, Spelled(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", "module:name, e.g. judges:Brief for a judges.py")]
    source: str = Field(default="", validate_default=True)
    """sha256 of the module's file, set automatically."""
    _folder: Path | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @field_validator("source", mode="after")
    @classmethod
    def _hash(cls, _: str, info: ValidationInfo) -> str:
        if "path" not in info.data:
            return ""
        return file_sha256(_found(info.data["path"].partition(":")[0], (info.context or {}).get("folder"))[0])

    def model_post_init(self, context: Any) -> None:
        self._folder = (context or {}).get("folder")

    @property
    def where(self) -> tuple[str, str, str]:
        """What `load` needs in another process: path, hash, and the rubric's folder (empty if there is none)."""
        return self.path, self.source, str(self._folder or "")

    def load(self) -> Any:
        """The function or class. Raises `ConfigError` if it cannot be loaded, or if its file has changed."""
        return load(*self.where)


def load(path: str, source: str, folder: str) -> Any:
    """The function or class of a `Code`, from what its `where` says."""
    module_name, _, attribute = path.partition(":")
    try:
        return getattr(_module(module_name, Path(folder) if folder else None, source), attribute)
    except ConfigError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise ConfigError(f"{path}: cannot be loaded: {type(error).__name__}: {error}") from error


@functools.lru_cache(maxsize=64)
def _module(name: str, folder: Path | None, source: str) -> ModuleType:
    """The module with this source hash, run once."""
    path, is_beside = _found(name, folder)
    code = path.read_bytes()
    if hashlib.sha256(code).hexdigest() != source:
        raise ConfigError(
            f"{path}: was edited after campaign.yaml was loaded, so its code is not the recorded "
            "one; run the command again (in the Dagster UI, reload the definitions first)"
        )
    if path.suffix != ".py":
        return importlib.import_module(name)
    package, _, leaf = ("", "", name) if is_beside else name.rpartition(".")
    if package:
        importlib.import_module(package)
    inside = [str(path.parent)] if path.name == "__init__.py" else None
    own_name = f"rft_{source}_{leaf}"
    spec = importlib.util.spec_from_file_location(
        f"{package}.{own_name}" if package else own_name, path, submodule_search_locations=inside
    )
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        exec(compile(code, path, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _found(module: str, folder: Path | None) -> tuple[Path, bool]:
    """The module's file, and whether it is in the rubric's folder. Runs no code, also not of parent packages."""
    if folder is not None and (path := folder / f"{module}.py").is_file():
        return path, True
    if module.partition(".")[0] in {*sys.stdlib_module_names, "test"}:
        place = "" if folder is None else f" in the rubric's folder ({folder / f'{module}.py'})"
        raise ValueError(f"there is no {module}.py{place}, and {module!r} of Python's own library is not meant")
    spec, names, search = None, module.split("."), None
    for depth in range(1, len(names) + 1):
        spec = _spec(".".join(names[:depth]), search)
        if spec is None:
            break
        search = spec.submodule_search_locations
        if search is None and depth < len(names):
            spec = None
            break
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        where = f"in the rubric's folder ({folder / f'{module}.py'}) or " if folder is not None else ""
        raise ValueError(f"no module {module!r} {where}in the installed packages")
    return Path(spec.origin), False


def _spec(name: str, search: Sequence[str] | None) -> ModuleSpec | None:
    found = (finder.find_spec(name, search) for finder in sys.meta_path)
    return next((spec for spec in found if spec is not None), None)
