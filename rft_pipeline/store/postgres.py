"""PostgreSQL in place of SQLite, for Dagster and for MLflow: which driver, and whether it can be used."""

from importlib.util import find_spec

from rft_pipeline.errors import ConfigError

PLAIN = "postgresql://"
WITH_DRIVER = "postgresql+psycopg2://"


def with_driver(url: str) -> str:
    """Name the driver that dagster-postgres brings; left to itself, SQLAlchemy ≥ 2.1 takes another. Others as is."""
    return WITH_DRIVER + url.removeprefix(PLAIN) if url.startswith(PLAIN) else url


def require(url: str, variable: str, *packages: str) -> None:
    """Raise `ConfigError` when the database that an environment variable names cannot be used, never with its password.

    Else each stage would fail, one after the other, after its work.
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
        raise ConfigError(f"{variable}: must read {PLAIN}user:password@host:port/database") from None
    except OperationalError as error:
        why = " ".join(str(error.orig).split())
        raise ConfigError(f"{variable}: {why}; start the server, or unset the variable to use SQLite") from None
