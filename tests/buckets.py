"""A real S3 server on this machine, for tests: moto's, in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SECRET = "not-to-be-shown-anywhere"


@contextmanager
def s3_server() -> Iterator[str]:
    """An S3 server with the empty bucket `rft`; yields its address. Its variables are set in the environment."""
    import boto3

    command = [sys.executable, "-m", "tests.s3_process"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        variables = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(server.stdout.readline())}",
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
                server.stdin.close()
