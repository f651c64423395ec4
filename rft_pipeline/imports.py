"""A user's own Python: found beside campaign.yaml or among the installed packages, and known by its source."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from rft_pipeline.errors import ConfigError
from rft_pipeline.fingerprint import file_sha256


def source_hash(name: str, folder: Path | None) -> str:
    """sha256 of the file that `module:attribute` lies in. Raises ValueError when there is none; nothing is run."""
    return file_sha256(_file(name.partition(":")[0], folder))


def load(name: str, folder: Path | None) -> Any:
    """What `module:attribute` names. Raises `ConfigError` when it cannot be had."""
    module_name, _, attribute = name.partition(":")
    try:
        path = _file(module_name, folder)
        if folder is not None and path.parent == folder:
            spec = importlib.util.spec_from_file_location(f"rft_campaign_{folder.name}_{module_name}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(module_name)
        return getattr(module, attribute)
    except Exception as error:
        raise ConfigError(f"{name}: cannot be loaded: {type(error).__name__}: {error}") from error


def _file(module: str, folder: Path | None) -> Path:
    if folder is not None and (beside := folder / f"{module}.py").is_file():
        return beside
    try:
        spec = importlib.util.find_spec(module) if module else None
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        where = f"beside campaign.yaml ({folder / f'{module}.py'}) or " if folder is not None else ""
        raise ValueError(f"no module {module!r} {where}among the installed packages")
    return Path(spec.origin)
