"""A user's own Python: found beside campaign.yaml or among the installed packages, and known by its source."""

import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from rft_pipeline.errors import ConfigError
from rft_pipeline.fingerprint import file_sha256
from rft_pipeline.strict import Strict


class Code(Strict):
    """What `module:attribute` names: written so, held with the hash of its file, since another code is another setting.

    The module lies beside the rubric, or is installed. Nothing of it is run before it is needed.
    """

    path: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    source: str = Field(default="", validate_default=True)
    """sha256 of the module's file, found by itself."""
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
        return file_sha256(_file(info.data["path"].partition(":")[0], (info.context or {}).get("folder")))

    def model_post_init(self, context: Any) -> None:
        self._folder = (context or {}).get("folder")

    def load(self) -> Any:
        """The function or class. Raises `ConfigError` when it cannot be had."""
        module_name, _, attribute = self.path.partition(":")
        try:
            return getattr(_module(module_name, self._folder, self.source), attribute)
        except Exception as error:  # whatever the user's code raises
            raise ConfigError(f"{self.path}: cannot be loaded: {type(error).__name__}: {error}") from error


@functools.lru_cache(maxsize=64)
def _module(name: str, folder: Path | None, source: str) -> ModuleType:
    """The module with this source, run once."""
    path = _file(name, folder)
    if folder is None or path.parent != folder:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(f"rft_{source}_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _file(module: str, folder: Path | None) -> Path:
    if folder is not None and (beside := folder / f"{module}.py").is_file():
        return beside
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        where = f"beside the rubric ({folder / f'{module}.py'}) or " if folder is not None else ""
        raise ValueError(f"no module {module!r} {where}among the installed packages")
    return Path(spec.origin)
