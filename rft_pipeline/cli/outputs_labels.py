"""What `rft labels export --json`, `import --json` and `show --json` print: the dataclasses of their JSON Schemas."""

from dataclasses import dataclass
from typing import Any

from rft_pipeline.labels.exports import Export
from rft_pipeline.labels.importing import Imported
from rft_pipeline.labels.pairs import PairExport


@dataclass(frozen=True, kw_only=True)
class ExportedFile(Export):
    file: str
    """Where the rows are to be filled in."""


@dataclass(frozen=True, kw_only=True)
class ExportedPages(Export):
    pages: dict[str, str]
    """Annotator → the address of the page."""


@dataclass(frozen=True, kw_only=True)
class PairsFile(PairExport):
    file: str


@dataclass(frozen=True, kw_only=True)
class PairsPages(PairExport):
    pages: dict[str, str]


@dataclass(frozen=True)
class ImportedLabels(Imported):
    left_out: list[str]
    """Which labels do not count, and why."""
    estimates: dict[str, dict[str, Any]]
    """Criterion, or `reward` → the means of judge, people, and both (PPI++), with intervals."""


@dataclass(frozen=True)
class ImportedAnswers(Imported):
    preferences: list[dict[str, Any]]


@dataclass(frozen=True)
class ImportedFeedback:
    rows: int
    """In the logs."""
    opted_out: int
    without_reply: int
    replies: int
    """With feedback."""
    liked: int
    disliked: int
    different: int
    kept: int
    redacted: dict[str, int]
    """Kind of personal data → places."""
    rejected: list[str]
    """Place and reason of each row that was left out."""


@dataclass(frozen=True)
class ImportedAll:
    """`rft labels import --json`; null for what was not imported."""

    labels: ImportedLabels | None
    pairs: ImportedAnswers | None
    feedback: ImportedFeedback | None


@dataclass(frozen=True)
class Labels:
    """`rft labels show --json`."""

    left_out: list[str]
    estimates: dict[str, dict[str, Any]]
    preferences: list[dict[str, Any]]
    feedback: dict[str, Any] | None
