"""The folders of the state and of the campaigns."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from rft_pipeline.errors import ConfigError
from rft_pipeline.store import postgres
from rft_pipeline.store.shared import connect
from rft_pipeline.strict import did_you_mean

if TYPE_CHECKING:
    from mlflow import MlflowClient

_REFUSED = re.compile(r"%[0-9A-Fa-f]{2}|[?\[\]\\\x00-\x1f]")
"""Characters that deltalake 1.6 decodes twice or refuses in a table's path; a `?` ends the path of a database."""


@dataclass(frozen=True)
class Home:
    """The state folder: RFT_HOME, or `.rft` next to the campaigns' folder."""

    root: Path
    data: Path
    """The folder of campaigns: RFT_DATA, or `data` below the project's folder."""

    @classmethod
    def find(cls) -> "Home":
        """From RFT_HOME and RFT_DATA; else from the project's folder.

        With RFT_STORE, the state folder is a copy of that bucket, and what is new there is fetched.

        Raises `ConfigError` for an address, and for a state folder that cannot hold tables or databases.
        """
        if "://" in (given := os.environ.get("RFT_HOME", "")):
            raise ConfigError(
                f"RFT_HOME={given}: must be a folder; RFT_STORE may name a bucket, and `rft store copy` copies a "
                "state folder to a bucket and back"
            )
        data = Path(os.environ.get("RFT_DATA") or project() / "data").absolute()
        root = Path(os.environ.get("RFT_HOME", data.parent / ".rft")).absolute()
        if found := _REFUSED.search(str(root.resolve())):
            raise ConfigError(
                f"{root}: Delta Lake and SQLite cannot use a path that contains {found.group()!r}; "
                "set RFT_HOME to a folder without ? [ ] \\, control characters, and % before two hex digits"
            )
        connect(root)
        return cls(root=root, data=data)

    @property
    def store(self) -> Path:
        """Records and row tables."""
        return self.root / "store"

    @property
    def models(self) -> Path:
        """Fetched and converted models."""
        return self.root / "models"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME: runs, events, logs."""
        return self.root / "dagster"

    @property
    def reports(self) -> Path:
        """The newest report page of each campaign."""
        return self.root / "reports"

    @property
    def progress(self) -> Path:
        """One small file per running stage, with its progress."""
        return self.root / "progress"

    def mlflow_client(self) -> "MlflowClient":
        """A client of `mlflow_uri`. The login of a tracking server goes into MLflow's environment variables, because
        MLflow's errors contain the address."""
        quiet_mlflow()
        from mlflow import MlflowClient

        uri = self.mlflow_uri
        address = urlsplit(uri)
        if address.scheme.startswith("http") and address.username:
            os.environ.setdefault("MLFLOW_TRACKING_USERNAME", unquote(address.username))
            os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", unquote(address.password or ""))
            uri = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
        return MlflowClient(tracking_uri=uri)

    @property
    def mlflow_uri(self) -> str:
        """MLFLOW_TRACKING_URI, or SQLite in this folder."""
        return postgres.with_driver(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{self.root / 'mlflow.db'}"))

    @property
    def mlflow_artifacts(self) -> str:
        return (self.root / "mlartifacts").as_uri()

    def campaigns(self) -> list[str]:
        """Names of the folders with a campaign.yaml, and of folders that cannot be read."""
        return sorted(folder.name for folder in self.data.glob("*") if _may_hold_campaign(folder))

    def campaign_folder(self, name: str) -> Path:
        """The folder of a campaign. Raises `ConfigError` with the existing names."""
        folder = self.data / name
        if not _may_hold_campaign(folder):
            names = f"there are: {', '.join(found)}" if (found := self.campaigns()) else self.no_campaign
            near = did_you_mean(name, found)
            raise ConfigError(f"no campaign {name!r}{near}: {folder / 'campaign.yaml'} does not exist; {names}")
        return folder

    @property
    def no_campaign(self) -> str:
        """What to say and do where there is none."""
        return (
            f"no campaign in {self.data}: run rft in a folder whose data/ has one, or set RFT_DATA; "
            "`rft new NAME --like CAMPAIGN --prompts FILE` begins one"
        )


def quiet_mlflow() -> None:
    """Keep MLflow in this process and its children from sending usage data and from logging what went well.

    MLflow reads these variables when it is imported.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")


def project() -> Path:
    """The working directory, if it has `data`; else the nearest folder above it with a campaign in `data`, if any."""
    here = Path.cwd()
    if (here / "data").is_dir():
        return here
    return next((each for each in here.parents if any((each / "data").glob("*/campaign.yaml"))), here)


def checkout() -> Path | None:
    """The folder of the checkout that this package is in, or None for an installed wheel, which holds the assets."""
    package = Path(__file__).resolve().parents[1]
    return None if (package / "dagster_assets").is_dir() else package.parent


def _may_hold_campaign(folder: Path) -> bool:
    """False only if campaign.yaml certainly does not exist; true for a folder without permission or a link to
    itself."""
    try:
        (folder / "campaign.yaml").lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
