"""PostgreSQL instead of SQLite for Dagster and MLflow: driver and connection check."""

from importlib.util import find_spec

from rft_pipeline.errors import ConfigError

PLAIN = "postgresql://"
WITH_DRIVER = "postgresql+psycopg2://"


def with_driver(url: str) -> str:
    """The URL with the driver of dagster-postgres, since SQLAlchemy ≥ 2.1 has another default. Others unchanged."""
    return WITH_DRIVER + url.removeprefix(PLAIN) if url.startswith(PLAIN) else url


def require(url: str, variable: str, *packages: str) -> None:
    """Raise `ConfigError`, without the password, if the database in an environment variable cannot be used.

    Otherwise each stage would fail after its work.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ConfigError(
            f"{variable} names PostgreSQL, which needs {' and '.join(missing)}: "
            "run pip install 'rft-pipeline[postgres]', or unset the variable to use SQLite"
        )
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError, OperationalError

    try:
        engine = create_engine(url)
        engine.connect().close()
        engine.dispose()
    except ArgumentError:
        raise ConfigError(f"{variable}: must be {PLAIN}user:password@host:port/database") from None
    except OperationalError as error:
        why = " ".join(str(error.orig).split())
        raise ConfigError(f"{variable}: {why}; start the server, or unset the variable to use SQLite") from None
