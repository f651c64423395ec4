"""No message of an error shows a password or a token."""

import pickle

import pytest

from rft_pipeline.errors import EngineError, TrackingError, without_secrets


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql+psycopg2://rft:s3cret@db:5432/rft", "postgresql+psycopg2://…@db:5432/rft"),
        ("postgresql://rft:a/b?c#d@db/rft", "postgresql://…@db/rft"),
        ("postgresql://user:password@host:port/database", "postgresql://user:password@host:port/database"),
        ("https://user:p:a@ss@mlflow.example/x?run=7", "https://…@mlflow.example/x?run=7"),
        (
            "https://s3.example/a?X-Amz-Signature=ab12&X-Amz-Date=1",
            "https://s3.example/a?X-Amz-Signature=…&X-Amz-Date=1",
        ),
        ("https://hub.example/m?api_key=ab12#top", "https://hub.example/m?api_key=…#top"),
        ("https://hub.example/org/model@v2", "https://hub.example/org/model@v2"),
        ("write to ops@example.org", "write to ops@example.org"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, shown: str) -> None:
    assert without_secrets(f"cannot reach {address!r}: refused") == f"cannot reach {shown!r}: refused"


def test_the_message_of_every_error_is_without_secrets() -> None:
    error = TrackingError("MLflow at http://rft:s3cret@tracking:5000 could not be reached")
    assert str(error) == "MLflow at http://…@tracking:5000 could not be reached"
    again = pickle.loads(pickle.dumps(EngineError("no http://u:pw@host")))
    assert str(again) == "no http://…@host"
