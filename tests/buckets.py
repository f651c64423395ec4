"""A real S3 server on this machine, for tests: moto's, in a thread."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

SECRET = "not-to-be-shown-anywhere"


@contextmanager
def s3_server() -> Iterator[str]:
    """An S3 server with the empty bucket `rft`; yields its address. Its variables are set in the environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # else a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "an-access-key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", endpoint_url=variables["AWS_ENDPOINT_URL"], region_name="us-east-1").create_bucket(
            Bucket="rft"
        )
        try:
            yield variables["AWS_ENDPOINT_URL"]
        finally:
            server.stop()
