"""Fingerprints: the hash of a value's canonical JSON.

A payload is plain data (mappings with string keys, sequences, strings, numbers, booleans, None). For anything else,
`canonical_json` raises.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SHORT = 16
"""Hex digits of a fingerprint (64 bits)."""


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical_json(value: Any) -> str:
    """The canonical JSON of `value`: sorted keys, no white space, UTF-8.

    Raises `TypeError` for other types, `ValueError` for NaN and infinities.
    """
    return _encode(_plain(value, "$"))


def fingerprint(value: Any) -> str:
    """The first 16 hex digits of the sha256 of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:SHORT]


def file_sha256(path: Path) -> str:
    """The full sha256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seed_of(seed: int, *name: str | int) -> int:
    """A 63-bit seed for one random choice, from the campaign's seed and a name."""
    digest = hashlib.sha256(canonical_json([seed, *name]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where}: {value} has no fingerprint; use a finite number")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"{where}: keys of a fingerprinted mapping must be strings")
        return {key: item if type(item) is str else _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [item if type(item) is str else _plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise TypeError(f"{where}: {type(value).__name__} has no canonical JSON; pass plain data")
